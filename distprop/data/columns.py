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
