"""Rows that the caller hands over in memory: in files for as long as a training reads them."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from distprop.config import load_job
from distprop.data.memory import from_memory, has_weights, is_rows
from distprop.errors import DataError
from distprop.suggest import suggest_name
from distprop.training.request import Request

SPLITS = ("train", "valid", "test")
WEIGHT = "sample_weight"  # the column of (X, y, sample_weight) where the job names none


@contextmanager
def rows_in_files(request: Request) -> Iterator[Request]:
    """The request with its rows written where workers can read them, until the end of the block. Raises DataError."""
    if request.data is None:
        yield request
        return
    splits = _splits(request.data)
    weight = request.job.data.weight
    if weight is None and any(map(has_weights, splits.values())):
        weight = WEIGHT
    fill = weight if any(map(has_weights, splits.values())) else None
    with tempfile.TemporaryDirectory(prefix="distprop-") as folder:
        target = request.job.data.target_column
        paths = {f"data.{split}": from_memory(rows, folder, target, split, fill) for split, rows in splits.items()}
        yield replace(request, job=load_job(request.job, {**paths, "data.weight": weight}), data=None)


def _splits(data: Any) -> Mapping[str, Any]:
    """Rows by split; rows without one are for training. Raises DataError for a split that there is not."""
    if not isinstance(data, Mapping) or not any(is_rows(rows) for rows in data.values()):
        return data if isinstance(data, Mapping) and "train" in data and set(data) <= set(SPLITS) else {"train": data}
    for split in data:
        if split not in SPLITS:
            raise DataError(
                f"data has {split!r}, which is no split",
                f"there are {', '.join(SPLITS)}",
                suggest_name(str(split), SPLITS),
            )
    if "train" not in data:
        raise DataError(f"data has {', '.join(data)} alone", "training needs rows", 'give {"train": (X, y), ...}')
    return data
