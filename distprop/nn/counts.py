"""Counts for pictures: which classes are taken for which, and how predicted values lie to actual ones. Additive."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array, Shape
from distprop.nn.metric import predicted_classes

Table = NDArray[np.float64]


class Counts(NamedTuple):
    """A table that is added up over rows: (outputs, targets, weights or None) -> float64 of `shape`."""

    name: str
    shape: Shape
    table: Callable[[Array, Array, Array | None], Table]


def confusion(outputs: Array, targets: Array, weights: Array | None, classes: int) -> Table:
    """Row weights by actual class (first axis) and predicted class, (classes, classes)."""
    cells = targets.reshape(-1).astype(np.intp) * classes + predicted_classes(outputs)
    return _tally(cells, weights, (classes, classes))


def scatter(outputs: Array, targets: Array, weights: Array | None, low: float, high: float, bins: int = 32) -> Table:
    """Row weights by actual (first axis) and predicted value, (bins, bins) from low to high; the ends take the rest.

    outputs, targets: (N,) or (N, 1). A prediction that is NaN is counted in the first bin.
    """
    cells = _bin(targets, low, high, bins) * bins + _bin(outputs, low, high, bins)
    return _tally(cells, weights, (bins, bins))


def confusion_counts(classes: int) -> Counts:
    """`confusion` as a table that an evaluation carries."""
    return Counts("confusion", (classes, classes), partial(confusion, classes=classes))


def scatter_counts(low: float, high: float, bins: int = 32) -> Counts:
    """`scatter` as a table that an evaluation carries."""
    return Counts("scatter", (bins, bins), partial(scatter, low=low, high=high, bins=bins))


def _bin(values: Array, low: float, high: float, bins: int) -> NDArray[np.intp]:
    width = (high - low) or 1.0
    place = (values.reshape(-1).astype(np.float64) - low) * (bins / width)
    return np.clip(np.nan_to_num(place, nan=0.0), 0, bins - 1).astype(np.intp)


def _tally(cells: NDArray[np.intp], weights: Array | None, shape: Shape) -> Table:
    size = shape[0] * shape[1]
    return np.bincount(cells, weights, size).astype(np.float64).reshape(shape)
