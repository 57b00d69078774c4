"""Metrics of classifications beyond accuracy."""

import math

import numpy as np

from distprop.nn.arrays import Array
from distprop.nn.class_losses import binary_cross_entropy, softmax_cross_entropy
from distprop.nn.loss import matrix, weighted_sum
from distprop.nn.metric import CLASSES, Metric, Sums, mean_of, one_sum, predicted_classes


def _class_sums(outputs: int) -> int:
    return 3 * max(2, outputs)


def _tallies(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    """For each class the weights of rows that were rightly taken for it, that were taken for it, and that are of it."""
    classes = max(2, matrix(outputs).shape[1])
    predicted, actual = predicted_classes(outputs), targets.reshape(-1).astype(np.intp)
    w = np.ones(len(actual)) if weights is None else weights.astype(np.float64)
    parts = (actual[predicted == actual], w[predicted == actual]), (predicted, w), (actual, w)
    return np.concatenate([np.bincount(of, by, classes).astype(np.float64) for of, by in parts])


def _over_classes(shares: Sums, seen: Array) -> float:
    """Of two classes the second's, of more the mean over those that were seen."""
    if len(shares) == 2:
        return float(shares[1])
    return float(shares[seen].mean()) if seen.any() else 0.0


def _share(total: Sums, weight: float, of_predicted: float) -> float:
    """Right ones over predicted (1), actual (0), or the mean of both (0.5); 0 where there are none."""
    if not weight:
        return math.nan
    right, predicted, actual = total.reshape(3, -1)
    base = of_predicted * predicted + (1.0 - of_predicted) * actual
    shares = np.divide(right, base, out=np.zeros_like(right), where=base > 0)
    return _over_classes(shares, (predicted + actual) > 0)


def _surprise(outputs: Array, targets: Array, weights: Array | None) -> Sums:
    loss = _BINARY if matrix(outputs).shape[1] == 1 else _CLASSES
    exact = matrix(outputs).astype(np.float64)
    return np.array([loss.value_and_gradient(exact, targets, weights, np.empty_like(exact))])


_BINARY, _CLASSES = binary_cross_entropy(), softmax_cross_entropy()

precision = Metric(
    "precision", CLASSES, _class_sums, _tallies, lambda total, weight: _share(total, weight, 1.0), higher_is_better=True
)
"""Of the rows taken for a class, the share that is of it: of two classes the second's, of more their mean (macro).

As scikit-learn's: 0 for a class that no row was taken for; classes that were not seen at all do not count.
"""
recall = Metric(
    "recall", CLASSES, _class_sums, _tallies, lambda total, weight: _share(total, weight, 0.0), higher_is_better=True
)
"""Of the rows of a class, the share taken for it; over classes as precision."""
f1 = Metric(
    "f1", CLASSES, _class_sums, _tallies, lambda total, weight: _share(total, weight, 0.5), higher_is_better=True
)
"""The harmonic mean of precision and recall, class by class; over classes as precision."""
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
