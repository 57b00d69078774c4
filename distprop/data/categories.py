"""Values that stand for themselves: words, codes, classes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Column, text_digest

Value = str | int | float | bool


@dataclass(frozen=True)
class Categories:
    """Known values in their order; finds the index of raw values."""

    column: Column
    values: tuple[Value, ...]

    @cached_property
    def _sorted(self) -> tuple[NDArray[Any], NDArray[np.intp]]:
        text = self.column.kind == "text"
        keys = [text_digest(str(value)) if text else value for value in self.values]
        array = np.array(keys, dtype=np.uint64 if text else np.result_type(*(keys or [0])))
        order = np.argsort(array, kind="stable")
        return array[order], order

    def index(self, raw: NDArray[Any]) -> NDArray[np.intp]:
        """Index of each raw value (N,), -1 for one that is not known."""
        keys, order = self._sorted
        if not len(keys):
            return np.full(len(raw), -1, dtype=np.intp)
        places = np.minimum(np.searchsorted(keys, raw), len(keys) - 1)
        return np.where(keys[places] == raw, order[places], -1)
