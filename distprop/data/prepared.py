"""The front door: from the `data` section of a job to readers of float32 batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distprop.data.features import Features
from distprop.data.part import GroupCache, Part
from distprop.data.reader import Encoding, ShardReader
from distprop.data.shards import DataPlan
from distprop.data.targets import Targets


@dataclass(frozen=True)
class Split:
    """The training, validation or test rows: which they are, how they go over the shards, their receipt."""

    name: str  # train, valid or test
    part: Part
    plan: DataPlan
    receipt: int
    digest: str  # 32 hex digits: of schema, rows and receipt
    written: str  # the path as the user wrote it
    labels: tuple[int, ...] = ()  # rows of each class, in the order of the classes


@dataclass(frozen=True)
class Dataset:
    """All that a process needs to read its shards; holds no rows, so it is cheap to send."""

    splits: Mapping[str, Split]
    encoding: Encoding
    seed: int
    window_rows: int
    target_range: tuple[float, float] | None  # lowest and highest training target; None for classes
    digest: str  # of all splits that decide about the weights: at most 36 hex digits
    left_out: tuple[str, ...] = ()  # columns that `features: all` could not use
    cache: GroupCache = field(default_factory=GroupCache, compare=False, repr=False)

    @property
    def features(self) -> Features:
        """The fitted features."""
        return self.encoding.features

    @property
    def targets(self) -> Targets:
        """The target and its classes."""
        return self.encoding.targets

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row of x."""
        return self.features.input_shape

    @property
    def train_plan(self) -> DataPlan:
        """How the training rows go over the shards."""
        return self.splits["train"].plan

    @property
    def valid_plan(self) -> DataPlan | None:
        """The same of the validation rows, if there are any."""
        return self._plan("valid")

    @property
    def test_plan(self) -> DataPlan | None:
        """The same of the test rows, if there are any."""
        return self._plan("test")

    def _plan(self, split: str) -> DataPlan | None:
        return self.splits[split].plan if split in self.splits else None

    @property
    def train_receipt(self) -> int:
        """What the receipts of an epoch's leaves add up to, modulo 2^128."""
        return self.splits["train"].receipt

    def reader(self, split: str, shard: int) -> ShardReader:
        """A reader of one shard of a split. Readers of one Dataset object share decoded row groups."""
        one = self.splits[split]
        return ShardReader(split, one.part, one.plan, shard, self.encoding, self.seed, self.window_rows, self.cache)

    def used(self) -> list[dict[str, Any]]:
        """What a run records of each split: split, name, source, digest, rows and columns -> types."""
        return [_used(split) for split in self.splits.values()]


def _used(split: Split) -> dict[str, Any]:
    schema = split.part.source.schema
    columns = {column.name: str(schema.field(column.name).type) for column in split.part.columns}
    name = split.part.source.name.rstrip("/").rpartition("/")[2] or split.name
    return {
        "split": split.name,
        "name": name,
        "source": split.written,
        "digest": split.digest,
        "rows": split.part.rows,
        "columns": columns,
    }
