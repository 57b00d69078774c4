"""What a loss is: a value and the gradient of that same value, both as sums over rows.

Every value here is the sum over the batch's rows of (row weight) x (the row's loss); dividing by the sum of weights
is left to whoever has all the batches. Weights None means that each row counts once.

Accuracy: values are added up in float64; from float32 outputs a value is within 1e-6 of the exact one, relative, and a
gradient within 1e-6 of its largest entry.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from distprop.nn.arrays import Array

Task = Literal["classification", "binary", "regression"]


class Loss(NamedTuple):
    """What training makes small.

    value_and_gradient: (outputs (N, K), targets, weights (N,) or None, dout (N, K)) -> the sum as a Python float,
        added up in float64; its gradient with respect to outputs is written into dout, which is scratch before.
    activation: raw outputs (N, K) -> probabilities or values (N, K), a new array.
    outputs_for: number of classes, or values of one target -> width K of the last layer.
    normalizes: the kind of layer that this loss contains, so that the network must not end with it.
    point: raw outputs (N, K) -> what is predicted and measured of them, a view; None: the outputs themselves.
    quantiles: what the outputs are quantiles of the target at, where that is what they are.
    in_units: (raw outputs (N, K) about a standardized target, its mean and std (T,)) -> float64 (N, K) about the target
        itself; None: a standardized target is nothing that this loss is about.
    """

    name: str
    task: Task
    value_and_gradient: Callable[[Array, Array, Array | None, Array], float]
    activation: Callable[[Array], Array]
    outputs_for: Callable[[int], int]
    normalizes: str | None = None
    point: Callable[[Array], Array] | None = None
    quantiles: tuple[float, ...] = ()
    in_units: Callable[[Array, Array, Array], Array] | None = None

    def predicted(self, outputs: Array) -> Array:
        """What is predicted and measured of raw outputs (N, K): a view, or the outputs themselves."""
        return outputs if self.point is None else self.point(outputs)

    def predicted_width(self, outputs: int) -> int:
        """How many values are predicted of a row with that many outputs."""
        return int(self.predicted(np.empty((0, outputs))).shape[1])


def weighted_sum(values: Array, weights: Array | None) -> float:
    """The sum of values (N,) x weights (N,), in float64."""
    exact = values.astype(np.float64, copy=False)
    return float(np.sum(exact if weights is None else exact * weights))


def matrix(values: Array) -> Array:
    """Row values (N,) or (N, K) as (N, K); N may be 0."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def by_row(values: Array, like: Array) -> Array:
    """Row values (N,) or (N, K) in the shape and dtype of `like`, (N,) or (N, K)."""
    return values.reshape(like.shape).astype(like.dtype, copy=False)


def weigh_rows(dout: Array, weights: Array | None) -> None:
    """Multiply each row of dout by its weight."""
    if weights is not None:
        rows = matrix(dout)
        np.multiply(rows, weights.astype(dout.dtype, copy=False)[:, None], out=rows)


def per_cent(quantile: float) -> str:
    """A quantile within a name: "10" of 0.1, "2_5" of 0.025."""
    return f"{100.0 * quantile:g}".replace(".", "_")


def same_count(count: int) -> int:
    """One output for each class or value."""
    return count
