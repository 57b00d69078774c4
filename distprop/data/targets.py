"""What the network should answer: classes counted from 0, or float32 values, standardized or as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from distprop.data.categories import Categories, Value
from distprop.data.columns import Column
from distprop.data.features import column_from_json, column_to_json
from distprop.data.target_units import TargetUnits

Task = Literal["classification", "binary", "regression"]


@dataclass(frozen=True)
class Targets:
    """The target column and how its values become what the loss takes.

    classes: the values of class 0, 1, ...; None for regression. units: how values are standardized; None: they are not.
    """

    column: Column
    task: Task
    classes: tuple[Value, ...] | None = None
    units: TargetUnits | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where its units are not those of its values."""
        if self.units and (self.task != "regression" or len(self.units.mean) != self.column.width):
            raise ValueError(f"rows of the target {self.column.name!r} have not {len(self.units.mean)} values")

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """What 1 of the values that the network learns is in the target's units, (K,); None where that is 1."""
        return self.units.arrays[1] if self.units else None

    @property
    def outputs(self) -> int:
        """Outputs that a network needs for it."""
        if self.task == "regression":
            return self.column.width
        return 1 if self.task == "binary" else len(self.classes or ())

    @cached_property
    def _counted(self) -> bool:
        """Whether the values are their own class numbers."""
        return self.column.kind == "number" and self.classes == tuple(range(len(self.classes or ())))

    def index(self, raw: NDArray[Any]) -> NDArray[np.int64]:
        """Class number of each raw value (N,), -1 for none."""
        if not self._counted:
            return Categories(self.column, self.classes or ()).index(raw).astype(np.int64)
        with np.errstate(invalid="ignore"):  # NaN is no class either
            whole = raw.astype(np.int64)
        return np.where((whole == raw) & (whole >= 0) & (whole < len(self.classes or ())), whole, -1)

    def apply_raw(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Turn raw values into what the loss takes; -1 stands for a value that is no class.

        Classes (N,) int64; binary (N,) float32 of 0 and 1; regression (N,) or (N, K) float32.
        """
        if self.task == "regression":
            return self.units.apply(raw) if self.units else np.ascontiguousarray(raw, dtype=np.float32)
        index = self.index(raw)
        return index.astype(np.float32) if self.task == "binary" else index

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: part of a saved model."""
        classes = None if self.classes is None else list(self.classes)
        described = {"column": column_to_json(self.column), "task": self.task, "classes": classes}
        return described | ({"standardize": self.units.to_json()} if self.units else {})

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> "Targets":
        """The inverse of `to_json`."""
        classes = None if made["classes"] is None else tuple(made["classes"])
        units = TargetUnits.from_json(made["standardize"]) if "standardize" in made else None
        return cls(column_from_json(made["column"]), made["task"], classes, units)
