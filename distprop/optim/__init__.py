"""Optimizers and schedules over vectors."""
