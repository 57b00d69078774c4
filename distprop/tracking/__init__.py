"""Listeners that keep runs: MLflow and its spool."""
