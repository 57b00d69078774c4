"""Parquet in: what is read, in which order, as which numbers."""
