"""Metrics of classifications that are read from sums, exact to rounding in float64."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.arrays import Array
from distprop.nn.class_losses import binary_cross_entropy, softmax_cross_entropy
from distprop.nn.loss import matrix, weighted_sum
from distprop.nn.metric import CLASSES, Metric, Sums, mean_of, one_sum, predicted_classes


def _class_sums(outputs: int) -> int:
    return 3 * max(2, outputs)


def _tallies(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    """For each class the weights of rows that were rightly taken for it, that were taken for it, and that are of it.

    As scikit-learn's precision, recall and F1 count them: 0 for a class that no row was taken for; in means over
    classes, those that were not seen at all do not count.
    """
    classes = max(2, matrix(outputs).shape[1])
    predicted, actual = predicted_classes(outputs), targets.reshape(-1).astype(np.intp)
    w = np.ones(len(actual)) if weights is None else weights.astype(np.float64)
    parts = (actual[predicted == actual], w[predicted == actual]), (predicted, w), (actual, w)
    return np.concatenate([np.bincount(of, by, classes).astype(np.float64) for of, by in parts])


def _correct(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    return np.array([weighted_sum(predicted_classes(outputs) == targets.reshape(-1), weights)])


def _shares(tallies: Sums, of_predicted: float) -> Sums:
    """Right ones (C,) over predicted (1), actual (0), or the mean of both (0.5); 0 where there are none."""
    right, predicted, actual = tallies
    base = of_predicted * predicted + (1.0 - of_predicted) * actual
    return np.asarray(np.divide(right, base, out=np.zeros_like(right), where=base > 0))


def _macro(tallies: Sums, of_predicted: float) -> float:
    """The mean over classes that were seen."""
    seen = tallies[1] + tallies[2] > 0
    return float(_shares(tallies, of_predicted)[seen].mean()) if seen.any() else 0.0


def _usual(tallies: Sums, of_predicted: float) -> float:
    """Of two classes the second's, of more the mean."""
    pair = tallies.shape[1] == 2
    return float(_shares(tallies, of_predicted)[1]) if pair else _macro(tallies, of_predicted)


def _micro(tallies: Sums, of_predicted: float) -> float:
    """That of all classes together."""
    return float(_shares(tallies.sum(axis=1, keepdims=True), of_predicted)[0])


AVERAGES: Mapping[str, Callable[[Sums, float], float]] = {"": _usual, "_macro": _macro, "_micro": _micro}
SHARES: Mapping[str, float] = {"precision": 1.0, "recall": 0.0, "f1": 0.5}
"""By what the right ones are divided: 1 for those that were taken for a class, 0 for those of it."""


def share(kind: str, average: str) -> Metric:
    """`kind` of SHARES, over classes as `average` of AVERAGES has it."""

    def value(total: Sums, weight: float) -> float:
        return AVERAGES[average](total.reshape(3, -1), SHARES[kind]) if weight else math.nan

    return Metric(kind + average, CLASSES, _class_sums, _tallies, value, higher_is_better=True)


def share_per_class(kind: str) -> Metric:
    """`kind` of SHARES for every class: kind_0, kind_1 and so on, in the order of the classes."""

    def value(total: Sums, weight: float) -> Mapping[str, float]:
        shares = _shares(total.reshape(3, -1), SHARES[kind]) if weight else np.full(len(total) // 3, math.nan)
        return {f"{kind}_{place}": one for place, one in enumerate(shares.tolist())}

    return Metric(f"{kind}_per_class", CLASSES, _class_sums, _tallies, value, higher_is_better=True, parts=())


def share_of_class(kind: str, place: int) -> Metric:
    """`kind` of SHARES for the class number `place`, from 0."""

    def width(outputs: int) -> int:
        if place >= max(2, outputs):
            raise ConfigError(
                f"metric {kind}_{place} asks for the class number {place}",
                f"there are {max(2, outputs)} classes, counted from 0",
                f"name one of {kind}_0 to {kind}_{max(2, outputs) - 1}, or `{kind}_per_class`",
            )
        return 3

    def sums(outputs: Array, targets: Array, weights: Array | None) -> Sums:
        return np.asarray(_tallies(outputs, targets, weights).reshape(3, -1)[:, place])

    def value(total: Sums, weight: float) -> float:
        return float(_shares(total.reshape(3, 1), SHARES[kind])[0]) if weight else math.nan

    return Metric(f"{kind}_{place}", CLASSES, width, sums, value, higher_is_better=True)


def _surprise(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    loss = _BINARY if matrix(outputs).shape[1] == 1 else _CLASSES
    exact = matrix(outputs).astype(np.float64)
    return np.array([loss.value_and_gradient(exact, targets, weights, np.empty_like(exact))])


_BINARY, _CLASSES = binary_cross_entropy(), softmax_cross_entropy()

accuracy = Metric("accuracy", CLASSES, one_sum, _correct, mean_of, higher_is_better=True)
"""The share of rows whose class is predicted."""
log_loss = Metric("log_loss", CLASSES, one_sum, _surprise, mean_of)
"""-log of the probability that the label is given, in nats; without label smoothing."""


def top(count: int) -> Metric:
    """The share of rows whose label is among the `count` largest outputs; of equal outputs the first is larger."""

    def sums(outputs: Array, targets: Array, weights: Array | None) -> Sums:
        places = targets.reshape(-1, 1).astype(np.intp)
        own = np.take_along_axis(outputs, places, axis=1)
        before = np.arange(outputs.shape[1]) < places
        ahead = ((outputs > own) | ((outputs == own) & before)).sum(axis=1)
        return np.array([weighted_sum(ahead < count, weights)])

    return Metric(f"top_{count}", ("classification",), one_sum, sums, mean_of, higher_is_better=True)
