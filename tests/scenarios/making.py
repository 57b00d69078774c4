"""Rows and jobs of a user."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 203
FEATURES = [f"x{number}" for number in range(6)]


def columns() -> dict[str, Any]:
    """Six numbers and one of three classes for each row."""
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, ROWS)
    values = rng.normal(size=(ROWS, len(FEATURES))) + 0.7 * label[:, None]
    return {**{name: values[:, number] for number, name in enumerate(FEATURES)}, "label": label}


def write_rows(path: Path, changed: Mapping[str, Any] | None = None, rows: int = ROWS) -> Path:
    """The rows as a Parquet file, with some columns replaced."""
    table = {name: values[:rows] for name, values in {**columns(), **(changed or {})}.items()}
    pq.write_table(pa.table(table), path, row_group_size=16)
    return path


def job(**changed: Any) -> dict[str, Any]:
    """725 steps in 25 epochs of 29; kept every 40. Sections are merged with `changed`, other keys replaced."""
    made: dict[str, Any] = {
        "name": "scenario",
        "seed": 5,
        "data": {
            "train": "rows.parquet",
            "valid": {"fraction": 0.15},
            "features": ["x*"],
            "target": "label",
            "shards": 3,
            "batch_size": 8,
            "shuffle_rows": 16,
        },
        "model": [{"dense": 16}, "relu", {"dropout": 0.1}, {"dense": 3}],
        "loss": "softmax_cross_entropy",
        "metrics": ["accuracy"],
        "optimizer": {"adam": {"learning_rate": 1e-3}},
        "train": {"epochs": 25, "evaluate_every": "5 epochs"},
        "checkpoint": {"every": "40 steps"},
        "tracking": {"experiment": "scenarios"},
    }
    for key, value in changed.items():
        made[key] = {**made[key], **value} if isinstance(value, dict) and key != "optimizer" else value
    return made
