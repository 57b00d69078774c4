"""What a column is, and its raw values: plain NumPy arrays, small enough to keep many rows of.

Numbers stay in their stored type, (N,); lists are (N, width); text becomes a 64-bit digest of each value, (N,) uint64,
0 for a missing one. Where missing values are allowed, numbers are floats and missing ones are NaN.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from distprop.errors import DataError

Raw = Mapping[str, NDArray[Any]]
MISSING_TEXT = 0


@dataclass(frozen=True)
class Padding:
    """How lists of varying length become equally long: `value` behind short ones, which end of long ones is kept."""

    value: float = 0
    keep: Literal["first", "last"] = "first"


@dataclass(frozen=True)
class Column:
    """A column as it is read. `shape` is that of one row's value: () for numbers and text."""

    name: str
    kind: Literal["number", "list", "text"]
    dtype: str  # NumPy's name of the stored type; "text" for text
    shape: tuple[int, ...] = ()
    missing: bool = False  # nulls and NaN are allowed
    padding: Padding | None = None  # of lists that are brought to shape[0] elements

    @property
    def width(self) -> int:
        """Values a row."""
        return math.prod(self.shape)

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """The type of its raw values."""
        if self.kind == "text":
            return np.dtype(np.uint64)
        if not self.missing or self.dtype.startswith("float"):
            return np.dtype(self.dtype)
        return np.dtype(np.float64 if self.kind == "number" else np.float32)


def text_digest(text: str) -> int:
    """64 bits that stand for a text; never the one that stands for a missing value."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def text_digests(texts: Iterable[str | None]) -> NDArray[np.uint64]:
    """(N,) uint64; None is a missing value."""
    return np.array([MISSING_TEXT if t is None else text_digest(t) for t in texts], dtype=np.uint64)


def raw_from_numpy(column: Column, values: Any) -> NDArray[Any]:
    """Raw values of an array to predict on: numbers (N,), lists (N, *shape) or (N, width), text (N,)."""
    array = np.asarray(values)
    if column.kind == "text":
        return _text_from_numpy(array)
    if array.dtype == object:
        array = _from_objects(column, array)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"column {column.name!r} is given as {array.dtype}",
            "the model was trained on numbers",
            "give numbers",
        )
    return _in_shape(column, array.astype(column.raw_dtype, copy=False) if column.missing else array)


def _in_shape(column: Column, array: NDArray[Any]) -> NDArray[Any]:
    if array.size != len(array) * column.width:
        raise DataError(
            f"column {column.name!r} is given with values of shape {array.shape[1:]}",
            f"the model was trained on values of shape {column.shape}",
            "give values of that shape",
        )
    return array.reshape((len(array), column.width) if column.kind == "list" else len(array))


def _from_objects(column: Column, array: NDArray[Any]) -> NDArray[Any]:
    try:
        if column.kind == "list":
            return np.stack([np.asarray(value) for value in array])
        return np.array([math.nan if value is None else value for value in array], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {column.name!r} has values that are no numbers", str(error), "give numbers") from error


def _text_from_numpy(array: NDArray[Any]) -> NDArray[np.uint64]:
    missing = [value is None or value != value for value in array.tolist()]
    return text_digests(None if gone else str(v) for v, gone in zip(array.tolist(), missing, strict=True))
