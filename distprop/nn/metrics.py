"""Metrics as sums over rows: sums of parts add up to those of the whole, and a value is read from them at the end."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.arrays import Array
from distprop.nn.class_metrics import f1, log_loss, precision, recall, top
from distprop.nn.loss import Task, matrix, weighted_sum
from distprop.nn.metric import CLASSES, VALUES, Metric, Sums, mean_of, one_sum, predicted_classes
from distprop.suggest import suggest_name


def errors(outputs: Array, targets: Array) -> Sums:
    """Give outputs - targets, float64 (N, K)."""
    return matrix(outputs) - matrix(targets.astype(np.float64, copy=False))


def _correct(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    return np.array([weighted_sum(predicted_classes(outputs) == targets.reshape(-1), weights)])


def _absolute(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    return np.array([weighted_sum(np.abs(errors(outputs, targets)).mean(axis=1), weights)])


def _squares(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    return np.array([weighted_sum(np.square(errors(outputs, targets)).mean(axis=1), weights)])


def _spread(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    """For each of K outputs: the weighted sums of squared errors, of targets and of squared targets."""
    actual = np.broadcast_to(matrix(targets.astype(np.float64, copy=False)), matrix(outputs).shape)
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


accuracy = Metric("accuracy", CLASSES, one_sum, _correct, mean_of, higher_is_better=True)
"""The share of rows whose class is predicted."""
mae = Metric("mae", VALUES, one_sum, _absolute, mean_of)
"""Mean absolute error."""
mse = Metric("mse", VALUES, one_sum, _squares, mean_of)
"""Mean squared error."""
rmse = Metric("rmse", VALUES, one_sum, _squares, lambda total, weight: math.sqrt(mean_of(total, weight)))
"""Root of the mean squared error."""
r2 = Metric("r2", VALUES, lambda outputs: 3 * outputs, _spread, _explained, higher_is_better=True)
"""The share of the targets' variance that is explained; as scikit-learn's r2_score."""

METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (accuracy, mae, mse, rmse, r2, precision, recall, f1, log_loss, top(3), top(5))
}
"""By name; `top_K` is also found for any other K."""
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
    count = name.removeprefix("top_")
    metric = top(int(count)) if count != name and count.isdecimal() and int(count) else METRICS.get(name)
    if metric is None:
        raise ConfigError(f"unknown metric {name!r}", f"there are: {', '.join(METRICS)}", suggest_name(name, fitting))
    if task not in metric.tasks:
        raise ConfigError(
            f"metric {name} does not fit the loss", f"this is a {task} job", f"use {' or '.join(fitting)}"
        )
    return metric
