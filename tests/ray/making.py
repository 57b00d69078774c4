"""A small job whose rows no shard and no batch divides evenly, and what is to be compared of its trainings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distprop.events import Evaluated, Event, Metrics, StepEnded

ROWS, SHARDS, BATCH = 331, 5, 47  # 265 rows are left for training: 6 steps an epoch, the last with 30 rows
WIDTH = 37

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"sgd": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}},
    "adam": {"adam": {"learning_rate": 2e-3}, "clip_norm": 0.7},
    "adamw": {"adamw": {"learning_rate": {"cosine": 3e-3}, "weight_decay": 0.02}, "clip_norm": 0.5},
}
MODEL: list[Any] = [{"dense": 450}, "gelu", {"dropout": 0.2}, {"dense": 3}]  # 16,650 weights: more than one block
MODELS: dict[str, list[Any]] = {"adam": [{"dense": 450}, "batch_norm", "gelu", {"dropout": 0.2}, {"dense": 3}]}


def write_rows(path: Path) -> Path:
    """Noisy rows of three classes, in small row groups."""
    rng = np.random.default_rng(5)
    label = rng.integers(0, 3, ROWS)
    x = rng.normal(size=(ROWS, WIDTH)).astype(np.float32) + label[:, None] * np.linspace(-0.5, 0.5, WIDTH)
    columns = {f"x{column:02}": x[:, column].astype(np.float32) for column in range(WIDTH)}
    pq.write_table(pa.table({**columns, "label": label}), path, row_group_size=40)
    return path


def job(rows: Path, checkpoints: Path, optimizer: str = "adamw") -> dict[str, Any]:
    """36 steps in 6 epochs; measured every 4 steps, kept every 7."""
    return {
        "name": "law",
        "seed": 11,
        "data": {
            "train": str(rows),
            "valid": {"fraction": 0.2, "stratify": True},
            "features": {"x*": "standardize"},
            "target": "label",
            "shards": SHARDS,
            "batch_size": BATCH,
            "shuffle_rows": 25,
        },
        "model": MODELS.get(optimizer, MODEL),
        "loss": "softmax_cross_entropy",
        "metrics": ["accuracy"],
        "optimizer": OPTIMIZERS[optimizer],
        "train": {"epochs": 6, "evaluate_every": "4 steps"},
        "checkpoint": {"every": "7 steps", "dir": str(checkpoints)},
        "tracking": {"enabled": False},
    }


@dataclass
class Watch:
    """A listener that keeps all figures by version, and whatever else happens; `at` acts on an event."""

    at: Callable[[Event], None] = lambda _: None
    figures: dict[tuple[str, int], Metrics] = field(default_factory=dict)
    contradictions: list[tuple[str, int]] = field(default_factory=list)  # computed again, with other figures
    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take in one event. Nothing is asserted here: a listener that fails is only dropped."""
        self.events.append(event)
        if isinstance(event, StepEnded | Evaluated):
            key = (type(event).__name__, event.version)
            if self.figures.setdefault(key, event.metrics) != event.metrics:
                self.contradictions.append(key)
        self.at(event)

    def seen(self, kind: type[Event]) -> int:
        """How often something happened."""
        return sum(isinstance(event, kind) for event in self.events)
