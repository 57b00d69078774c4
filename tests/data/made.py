"""Small Parquet files and the jobs that train on them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distprop.data.dataset import Dataset, prepare
from distprop.data.tables import column_from_array, table_of

SHARED = Path(os.environ.get("DATA") or Path(__file__).parents[2].parent / "shared" / "data")


def shared(name: str) -> str:
    """A shared table's path; skips where it is not there."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there (set DATA to the folder of the shared tables)")
    return str(path)


def write(path: Path, columns: Mapping[str, Any] | pa.Table, group: int = 7) -> str:
    """Columns (N,) or (N, *shape) as a Parquet file with row groups of `group` rows."""
    table = columns
    if not isinstance(columns, pa.Table):
        table = table_of([column_from_array(name, np.asarray(values)) for name, values in columns.items()])
    pq.write_table(table, path, row_group_size=group)
    return str(path)


def numbered(path: Path, rows: int, group: int = 7) -> str:
    """Rows that know their number: id = 0..rows-1, an image made of it, label = id mod 3."""
    ids = np.arange(rows)
    image = (ids[:, None] * 7 + np.arange(6)).astype(np.uint8).reshape(rows, 2, 3)
    return write(path, {"id": ids, "image": image, "label": (ids % 3).astype(np.int32)}, group)


def ready(train: str, task: Any = "classification", outputs: int | None = None, **data: Any) -> Dataset:
    """A prepared data set, with defaults."""
    settings = {"train": train, "target": "label", "shards": 3, "batch_size": 8, "shuffle_rows": 10} | data
    return prepare(settings, 7, task, outputs)


def epoch_ids(data: Dataset, epoch: int, shard: int) -> list[int]:
    """The ids (first feature) that a fresh reader of a shard gives in an epoch, in order."""
    reader = data.reader("train", shard)
    batches = [reader.batch(epoch, step) for step in range(data.train_plan.steps(shard))]
    return [int(value) for batch in batches for value in batch.x.reshape(batch.rows, -1)[:, 0]]
