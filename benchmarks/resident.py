"""Data that costs nothing: the same rows of each shard, in memory, at every step. Stands in for a Dataset."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.cases import global_batch
from distprop.data.reader import Batch
from distprop.data.shards import DataPlan

STEPS = 10**9
"""Steps of an epoch: no measurement reaches its end."""


@dataclass(frozen=True)
class ResidentTargets:
    """What is said of the classes."""

    outputs: int
    spread: None = None  # classes have none

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """Their names."""
        return tuple(range(self.outputs))


@dataclass(frozen=True)
class Resident:
    """`rows` rows a step over all shards. Sent to every process, so it holds no rows itself."""

    input_shape: tuple[int, ...]
    targets: ResidentTargets
    rows: int
    shards: int
    train_receipt: int = 0
    target_range: None = None
    valid_plan: None = None
    test_plan: None = None
    digest: str = "resident"

    @property
    def splits(self) -> dict[str, Any]:
        """There is nothing to evaluate on."""
        return {}

    @cached_property
    def train_plan(self) -> DataPlan:
        """So many rows that no epoch ends."""
        return DataPlan(self.rows * STEPS, self.shards, self.rows)

    def reader(self, split: str, shard: int) -> "ResidentReader":
        """The reader of a shard."""
        assert split == "train", "there is nothing to evaluate on"
        x, y = global_batch(self.input_shape, self.targets.outputs, self.rows)
        run = slice(shard * self.rows // self.shards, (shard + 1) * self.rows // self.shards)
        mine = np.ascontiguousarray(x[run]), y[run].copy()
        return ResidentReader(self.train_plan, shard, Batch(*mine, None, len(mine[0]), 0))


@dataclass(frozen=True)
class ResidentReader:
    """One shard's only batch."""

    plan: DataPlan
    shard: int
    only: Batch

    def batch(self, epoch: int, step: int) -> Batch:  # noqa: ARG002 - the same at every step
        """The rows of a leaf."""
        return self.only

    def look_ahead(self, *_: Any) -> int:
        """Nothing to decode."""
        return STEPS
