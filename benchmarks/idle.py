"""A job whose leaves compute nothing: what is left of a step is what distprop adds to arithmetic."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np

from benchmarks.job import Job
from distprop.nn.arrays import Array
from distprop.nn.leaf import LeafComputer, Progress
from distprop.nn.metrics import build_metrics
from distprop.nn.rows import RowGradients
from distprop.nn.tail import LOSS, ROWS, WEIGHT, Tail
from distprop.runtime.blueprint import Blueprint

CLASSES = 100


class IdleComputer(LeafComputer):
    """Fills its gradient, and sleeps as long as the arithmetic in its place would take."""

    sleep = 0.0  # seconds

    def gradient(
        self,
        flat: Array,  # noqa: ARG002 - nothing is computed
        x: Array,
        y: Array,  # noqa: ARG002
        weights: Array | None,  # noqa: ARG002
        step: int,  # noqa: ARG002
        shard: int,  # noqa: ARG002
        out: Array,
        squares: bool = False,  # noqa: ARG002
        progress: Progress | None = None,  # noqa: ARG002
        rows: Sequence[RowGradients] = (),  # noqa: ARG002
    ) -> Tail:
        """Write ones into out (P,); the loss is 1 a row."""
        if self.sleep:
            time.sleep(self.sleep)
        out.fill(1.0)
        tail = np.zeros(self.tail_width)
        tail[LOSS] = tail[WEIGHT] = tail[ROWS] = len(x)
        return tail


@dataclass(frozen=True)
class IdleBlueprint(Blueprint):
    """A blueprint that builds such computers; `sleep` in seconds."""

    sleep: float = 0.0

    def computer(self) -> LeafComputer:
        """A new computer of leaves."""
        metrics = build_metrics(self.metric_names, self.loss.task)
        made = IdleComputer(self.network, self.loss, metrics, self.seed)
        made.sleep = self.sleep
        return made


def idle_job(parameters: int, workers: int, shards: int = 0, optimizer: str = "sgd") -> Job:
    """A job with exactly so many parameters, one row a leaf. Raises ValueError where they make no dense layer."""
    width = next(width for width in range(min(CLASSES, isqrt(parameters)), 0, -1) if parameters % width == 0)
    layer: Any = {"dense": {"width": width, "bias": False}}
    settings = {"learning_rate": 1e-6}
    shards = shards or workers
    return Job((layer,), (parameters // width,), width, shards, shards, optimizer, settings)
