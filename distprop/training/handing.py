"""Rows that the caller hands over in memory: in files for as long as a training reads them."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from distprop.config import load_job
from distprop.data.memory import from_memory
from distprop.training.request import Request

SPLITS = frozenset({"train", "valid", "test"})


@contextmanager
def rows_in_files(request: Request) -> Iterator[Request]:
    """The request with its rows written where workers can read them, until the end of the block. Raises DataError."""
    if request.data is None:
        yield request
        return
    with tempfile.TemporaryDirectory(prefix="distprop-") as folder:
        named = isinstance(request.data, Mapping) and "train" in request.data and SPLITS.issuperset(request.data)
        splits = request.data if named else {"train": request.data}
        target = request.job.data.target_column
        paths = {f"data.{split}": from_memory(rows, folder, target, split) for split, rows in splits.items()}
        yield replace(request, job=load_job(request.job, paths), data=None)
