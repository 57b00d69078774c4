"""Losses: a value and the gradient of that same value, both as sums over rows.

Every value here is the sum over the batch's rows of (row weight) x (the row's loss); dividing by the sum of weights
is left to whoever has all the batches. Weights None means that each row counts once.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.activations import logistic
from distprop.nn.arrays import Array
from distprop.nn.softmax import softmax_rows
from distprop.suggest import suggest_name

Task = Literal["classification", "binary", "regression"]


class Loss(NamedTuple):
    """What training makes small.

    value_and_gradient: (outputs (N, K), targets, weights (N,) or None, dout (N, K)) -> the sum as a Python float,
        added up in float64; its gradient with respect to outputs is written into dout, which is scratch before.
    activation: raw outputs (N, K) -> probabilities or values (N, K), a new array.
    outputs_for: number of classes, or values of one target -> width K of the last layer.
    normalizes: the kind of layer that this loss contains, so that the network must not end with it.
    """

    name: str
    task: Task
    value_and_gradient: Callable[[Array, Array, Array | None, Array], float]
    activation: Callable[[Array], Array]
    outputs_for: Callable[[int], int]
    normalizes: str | None = None


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


def _weigh_rows(dout: Array, weights: Array | None) -> None:
    if weights is not None:
        rows = matrix(dout)
        np.multiply(rows, weights.astype(dout.dtype, copy=False)[:, None], out=rows)


def _softmax_cross_entropy(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
    at = np.arange(len(outputs)), targets.astype(np.intp, copy=False).reshape(-1)
    np.subtract(outputs, outputs.max(axis=1, keepdims=True), out=dout)  # shifted: exp cannot overflow
    shifted = dout[at].astype(np.float64)
    np.exp(dout, out=dout)
    total = dout.sum(axis=1, keepdims=True)
    np.divide(dout, total, out=dout)
    dout[at] -= 1
    _weigh_rows(dout, weights)
    return weighted_sum(np.log(total[:, 0].astype(np.float64)) - shifted, weights)


def _mean_squared_error(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
    np.subtract(outputs, by_row(targets, outputs), out=dout)
    rows = matrix(dout)
    value = weighted_sum(np.mean(np.square(rows, dtype=np.float64), axis=1), weights)
    np.multiply(dout, 2.0 / rows.shape[1], out=dout)
    _weigh_rows(dout, weights)
    return value


def _binary_cross_entropy(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
    z, t = outputs.astype(np.float64, copy=False).reshape(-1), targets.reshape(-1)
    values = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
    logistic(outputs, dout)
    np.subtract(dout, by_row(targets, dout), out=dout)
    _weigh_rows(dout, weights)
    return weighted_sum(values, weights)


def _probability(outputs: Array) -> Array:
    share = np.empty_like(outputs)
    logistic(outputs, share)
    return share


def _same(count: int) -> int:
    return count


softmax_cross_entropy = Loss(
    "softmax_cross_entropy",
    "classification",
    _softmax_cross_entropy,
    lambda outputs: softmax_rows(outputs, np.empty_like(outputs)),
    _same,
    "softmax",
)
"""-log of the probability that softmax(outputs) gives the label, in nats. outputs (N, K); labels (N,) int in 0..K-1."""

mean_squared_error = Loss("mean_squared_error", "regression", _mean_squared_error, np.copy, _same)
"""The squared error, as mean over a row's K outputs. outputs (N, K) or (N,); targets float of as many values."""

binary_cross_entropy = Loss(
    "binary_cross_entropy",
    "binary",
    _binary_cross_entropy,
    _probability,
    lambda classes: 1,  # noqa: ARG005 - one output tells two classes apart
    "sigmoid",
)
"""-log of the probability that sigmoid(outputs) gives the label, in nats. outputs (N, 1) or (N,); labels (N,) 0/1."""

LOSSES: Mapping[str, Loss] = {
    loss.name: loss for loss in (softmax_cross_entropy, mean_squared_error, binary_cross_entropy)
}


def build_loss(spec: str | Mapping[str, Any]) -> Loss:
    """The loss that a config names: "mean_squared_error", or {"mean_squared_error": {}}. Raises ConfigError."""
    name, settings = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    if name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}", f"there are: {', '.join(LOSSES)}", suggest_name(name, LOSSES))
    if settings:
        raise ConfigError(f"unknown settings {settings!r} of loss {name}", f"{name} has none", f"write `loss: {name}`")
    return LOSSES[name]
