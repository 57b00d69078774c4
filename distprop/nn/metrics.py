"""Metrics as sums over rows: sums of parts add up to those of the whole, and a value is read from them at the end."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.errors import ConfigError
from distprop.nn.arrays import Array
from distprop.nn.losses import Task, matrix, weighted_sum
from distprop.suggest import suggest_name

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


def errors(outputs: Array, targets: Array) -> Sums:
    """Give outputs - targets, float64 (N, K)."""
    return matrix(outputs) - matrix(targets.astype(np.float64, copy=False))


def _mean(total: Sums, weight: float) -> float:
    return float(total[0]) / weight if weight else math.nan


def _one(outputs: int) -> int:  # noqa: ARG001 - the same for any
    return 1


def _correct(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    return np.array([weighted_sum(predicted_classes(outputs) == targets.reshape(-1), weights)])


def _absolute(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    return np.array([weighted_sum(np.abs(errors(outputs, targets)).mean(axis=1), weights)])


def _squares(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    return np.array([weighted_sum(np.square(errors(outputs, targets)).mean(axis=1), weights)])


def _spread(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    """For each of K outputs: the weighted sums of squared errors, of targets and of squared targets."""
    actual = matrix(targets.astype(np.float64, copy=False))
    terms = np.concatenate([np.square(errors(outputs, targets)), actual, np.square(actual)], axis=1)
    if weights is not None:
        terms *= weights[:, None]
    return np.asarray(terms.sum(axis=0))


def _explained(total: Sums, weight: float) -> float:
    """1 - (squared errors) / (spread of the targets), mean over outputs; constant targets: 1 if met, else 0."""
    if not weight:
        return math.nan
    squared, targets, squares = total.reshape(3, -1)
    spread = np.maximum(squares - targets * targets / weight, 0.0)
    constant = spread <= 1e-14 * squares  # what is left is rounding
    shares = np.where(constant, squared > 1e-14 * squares, squared / np.where(constant, 1.0, spread))
    return float(np.mean(1.0 - shares))


CLASSES: tuple[Task, ...] = ("classification", "binary")
VALUES: tuple[Task, ...] = ("regression",)

accuracy = Metric("accuracy", CLASSES, _one, _correct, _mean, higher_is_better=True)
"""The share of rows whose class is predicted."""
mae = Metric("mae", VALUES, _one, _absolute, _mean)
"""Mean absolute error."""
mse = Metric("mse", VALUES, _one, _squares, _mean)
"""Mean squared error."""
rmse = Metric("rmse", VALUES, _one, _squares, lambda total, weight: math.sqrt(_mean(total, weight)))
"""Root of the mean squared error."""
r2 = Metric("r2", VALUES, lambda outputs: 3 * outputs, _spread, _explained, higher_is_better=True)
"""The share of the targets' variance that is explained; as scikit-learn's r2_score."""

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (accuracy, mae, mse, rmse, r2)}
DEFAULTS: Mapping[Task, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "binary": ("accuracy",),
    "regression": ("mae", "rmse", "r2"),
}


def build_metrics(names: Iterable[str] | None, task: Task) -> tuple[Metric, ...]:
    """The metrics of these names; None: what suits the task. Raises ConfigError."""
    return tuple(_find(name, task) for name in (DEFAULTS[task] if names is None else names))


def _find(name: str, task: Task) -> Metric:
    fitting = [metric.name for metric in METRICS.values() if task in metric.tasks]
    if name not in METRICS:
        raise ConfigError(f"unknown metric {name!r}", f"there are: {', '.join(METRICS)}", suggest_name(name, fitting))
    if name not in fitting:
        raise ConfigError(
            f"metric {name} does not fit the loss", f"this is a {task} job", f"use {' or '.join(fitting)}"
        )
    return METRICS[name]
