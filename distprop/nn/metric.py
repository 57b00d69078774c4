"""What a metric is: sums over rows, and a value that is read from them at the end."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array
from distprop.nn.loss import Task

CLASSES: tuple[Task, ...] = ("classification", "binary")
VALUES: tuple[Task, ...] = ("regression",)
Sums = NDArray[np.float64]


class Metric(NamedTuple):
    """How good a model is.

    width: width K of the outputs -> how many sums are kept.
    sums: (outputs (N, K) or (N,), targets, weights (N,) or None) -> float64 (width,), additive over rows.
    value: (added sums (width,), added weights) -> the metric; NaN where no rows were seen.
    higher_is_better: says which of two models is better.
    """

    name: str
    tasks: tuple[Task, ...]
    width: Callable[[int], int]
    sums: Callable[[Array, Array, Array | None], Sums]
    value: Callable[[Sums, float], float]
    higher_is_better: bool = False


def predicted_classes(outputs: Array) -> NDArray[np.intp]:
    """The class (N,) of each row: the largest of K outputs, or for one output whether it is positive."""
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return (outputs.reshape(-1) > 0).astype(np.intp)
    return np.asarray(outputs.argmax(axis=1), np.intp)


def mean_of(total: Sums, weight: float) -> float:
    """The first sum over the weights; NaN where no rows were seen."""
    return float(total[0]) / weight if weight else math.nan


def one_sum(outputs: int) -> int:  # noqa: ARG001 - the same for any
    """The width of a metric that keeps one sum."""
    return 1
