"""A column on its way into the network: what it is and what is done to it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import MISSING_TEXT, Column
from distprop.data.transforms import TRANSFORMS, Learned, Step, Transform


@dataclass(frozen=True)
class Feature:
    """A column and what is done to it, in order. `transforms` may still lack what they learn."""

    column: Column
    transforms: tuple[Transform, ...] = ()

    @property
    def indicator(self) -> bool:
        """Whether a value that says "was missing" goes along."""
        return any(t.kind == "impute" and t.settings["indicator"] for t in self.transforms)

    @cached_property
    def width(self) -> int:
        """Values a row, of a fitted feature."""
        last = self.transforms[-1] if self.transforms else None
        own = TRANSFORMS[last.kind].width(last.settings) if last else None
        return (own or self.column.width) + self.indicator * self.column.width

    def fit(self, learned: Mapping[int, Learned]) -> "Feature":
        """The same with complete transforms; `learned` by the transform's place in the chain."""
        return replace(self, transforms=tuple(t.fit(learned.get(i)) for i, t in enumerate(self.transforms)))

    def values(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Raw values (N,) or (N, w) -> (N, width), any float type."""
        start = raw.reshape(len(raw), self.column.width)
        values = start
        for step in self._steps:
            values = step(values)
        if not self.indicator:
            return values
        return np.concatenate([values, missing(self.column, start)], axis=1)

    def encoded(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Values as the network sees them, float32; what is too large for it becomes infinite, without a warning."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.values(raw).astype(np.float32)

    @property
    def coded(self) -> bool:
        """Whether its values are names, not amounts."""
        return bool(self.transforms) and TRANSFORMS[self.transforms[-1].kind].last

    @property
    def closed(self) -> bool:
        """Whether it takes the categories that it knows and refuses any other."""
        last = self.transforms[-1] if self.transforms else None
        return last is not None and last.kind == "one_hot" and last.settings.get("unknown", "error") == "error"

    def has(self, kind: str) -> bool:
        """Whether a transform of this kind is in the chain."""
        return any(transform.kind == kind for transform in self.transforms)

    def before(self, transform: int, raw: NDArray[Any]) -> NDArray[Any]:
        """What a transform that learns gets to see: values through those before it; missing ones stay so."""
        values = raw.reshape(len(raw), self.column.width)
        for earlier in self.transforms[:transform]:
            if earlier.need is None and earlier.kind != "impute":
                values = earlier.build(self.column)(values)
        return values

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(transform.build(self.column) for transform in self.transforms)

    def __getstate__(self) -> dict[str, Any]:
        """Travels without the steps, which are made again."""
        return {"column": self.column, "transforms": self.transforms}


def missing(column: Column, values: NDArray[Any]) -> NDArray[np.float32]:
    """1 where a raw value is missing, 0 where it is there."""
    gone: NDArray[np.bool_] = values == MISSING_TEXT if column.kind == "text" else np.isnan(values)
    return gone.astype(np.float32)
