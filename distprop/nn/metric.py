"""What a metric is: sums over rows, and a value that is read from them at the end."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array
from distprop.nn.loss import Task
from distprop.nn.scored import Scored

CLASSES: tuple[Task, ...] = ("classification", "binary")
VALUES: tuple[Task, ...] = ("regression",)
Sums = NDArray[np.float64]
Found = float | Mapping[str, float]
"""A metric's value, or several by their names."""


class Metric(NamedTuple):
    """How good a model is.

    width: width K of the outputs -> how many sums are kept.
    sums: (outputs (N, K) or (N,), targets, weights (N,) or None) -> float64 (width,), additive over rows.
    value: (added sums (width,), added weights) -> the metric; NaN where no rows were seen.
    higher_is_better: says which of two models is better.
    of_rows: the metric of all rows of a split, in place of `value`, where no sum over rows gives it: it is measured
        in evaluations only, which gather the rows for it.
    parts: the names of its values where it has several, as far as they are known beforehand.
    """

    name: str
    tasks: tuple[Task, ...]
    width: Callable[[int], int]
    sums: Callable[[Array, Array, Array | None], Sums]
    value: Callable[[Sums, float], Found]
    higher_is_better: bool = False
    of_rows: Callable[[Scored], Found] | None = None
    parts: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its values, as far as they are known beforehand."""
        return (self.name,) if self.parts is None else self.parts

    def named(self, found: Found) -> Mapping[str, float]:
        """What was found, by name."""
        return found if isinstance(found, Mapping) else {self.name: found}


def predicted_classes(outputs: Array) -> NDArray[np.intp]:
    """The class (N,) of each row: the largest of K outputs, or for one output whether it is positive."""
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return (outputs.reshape(-1) > 0).astype(np.intp)
    return np.asarray(outputs.argmax(axis=1), np.intp)


def mean_of(total: Sums, weight: float) -> float:
    """The first sum over the weights; NaN where no rows were seen."""
    return float(total[0]) / weight if weight else math.nan


def nothing(outputs: Array, targets: Array, weights: Array | None) -> Sums:  # noqa: ARG001 - keeps no sums
    """The sums (0,) of a metric that needs all rows at once."""
    return np.empty(0)


def no_sums(outputs: int) -> int:  # noqa: ARG001 - the same for any
    """The width of a metric that needs all rows at once."""
    return 0


def unread(total: Sums, weight: float) -> float:  # noqa: ARG001 - there are none
    """What no sums tell."""
    return math.nan


def one_sum(outputs: int) -> int:  # noqa: ARG001 - the same for any
    """The width of a metric that keeps one sum."""
    return 1
