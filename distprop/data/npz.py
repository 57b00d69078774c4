"""NPZ files: each array is a column; x_train and x_test go to train and test."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.data.tables import column_from_array, table_of
from distprop.errors import DataError

SPLITS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid",
          "test": "test", "testing": "test"}  # fmt: skip


def read_npz(path: Path) -> dict[str, pa.Table]:
    """Tables by split, or one named like the file where the arrays' names tell no split. Raises DataError."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}", str(error), "it must be an .npz of plain arrays") from error
    splits: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        split, column = _split_of(name)
        splits.setdefault(split or path.stem, {})[column] = array
    return {split: _table(path, columns) for split, columns in splits.items()}


def _split_of(name: str) -> tuple[str, str]:
    """(split, column): "x_train" is ("train", "x"), "train_images" is ("train", "images"), "x" is ("", "x")."""
    words = name.split("_")
    for i in (0, -1):
        split = SPLITS.get(words[i].lower())
        rest = "_".join(words[1:] if i == 0 else words[:-1])
        if split and rest:
            return split, rest
    found = re.fullmatch(r"(?i)(x|y)(train|test|val|valid)", name)
    return (SPLITS[found[2].lower()], found[1]) if found else ("", name)


def _table(path: Path, columns: dict[str, NDArray[Any]]) -> pa.Table:
    shapes = {name: array.shape for name, array in columns.items()}
    if any(not shape for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) > 1:
        raise DataError(
            f"the arrays of {path} have different numbers of rows",
            ", ".join(f"{name} is {shape}" for name, shape in shapes.items()),
            "store arrays whose first axis counts the rows",
        )
    flat = {n: a.reshape(-1) if a.ndim == 2 and a.shape[1] == 1 else a for n, a in columns.items()}
    return table_of([column_from_array(name, array) for name, array in flat.items()])
