"""Losses of classifications."""

from functools import partial

import numpy as np

from distprop.nn.activations import logistic
from distprop.nn.arrays import Array
from distprop.nn.loss import Loss, by_row, same_count, weigh_rows, weighted_sum
from distprop.nn.settings import require_number
from distprop.nn.softmax import softmax_rows


def softmax_cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """-log of the probability that softmax(outputs) gives the label, in nats.

    outputs (N, K); labels (N,) int in 0..K-1. label_smoothing s: the target gives the label 1 - s, and all K
    classes s / K (Szegedy et al. 2016, arXiv:1512.00567).
    """
    require_number("softmax_cross_entropy.label_smoothing", label_smoothing, 0.0, 1.0)
    value_and_gradient = partial(_softmax_cross_entropy, smoothing=label_smoothing)
    return Loss(
        "softmax_cross_entropy", "classification", value_and_gradient, _shares, same_count, normalizes="softmax"
    )


def binary_cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """-log of the probability that sigmoid(outputs) gives the label, in nats.

    outputs (N, 1) or (N,); labels (N,) 0/1. label_smoothing s: the target is 1 - s / 2 for 1, s / 2 for 0.
    """
    require_number("binary_cross_entropy.label_smoothing", label_smoothing, 0.0, 1.0)
    value_and_gradient = partial(_binary_cross_entropy, smoothing=label_smoothing)
    return Loss("binary_cross_entropy", "binary", value_and_gradient, _probability, _one, normalizes="sigmoid")


def _softmax_cross_entropy(
    outputs: Array, targets: Array, weights: Array | None, dout: Array, smoothing: float
) -> float:
    at = np.arange(len(outputs)), targets.astype(np.intp, copy=False).reshape(-1)
    np.subtract(outputs, outputs.max(axis=1, keepdims=True), out=dout)  # shifted: exp cannot overflow
    aimed = dout[at].astype(np.float64)
    if smoothing:
        aimed = (1.0 - smoothing) * aimed + smoothing * dout.mean(axis=1, dtype=np.float64)
    np.exp(dout, out=dout)
    total = dout.sum(axis=1, keepdims=True)
    np.divide(dout, total, out=dout)
    dout[at] -= 1.0 - smoothing
    if smoothing:
        np.subtract(dout, smoothing / outputs.shape[1], out=dout)
    weigh_rows(dout, weights)
    return weighted_sum(np.log(total[:, 0].astype(np.float64)) - aimed, weights)


def _binary_cross_entropy(
    outputs: Array, targets: Array, weights: Array | None, dout: Array, smoothing: float
) -> float:
    if smoothing:
        targets = targets * (1.0 - smoothing) + 0.5 * smoothing
    z, t = outputs.astype(np.float64, copy=False).reshape(-1), targets.reshape(-1)
    values = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
    logistic(outputs, dout)
    np.subtract(dout, by_row(targets, dout), out=dout)
    weigh_rows(dout, weights)
    return weighted_sum(values, weights)


def _shares(outputs: Array) -> Array:
    return softmax_rows(outputs, np.empty_like(outputs))


def _probability(outputs: Array) -> Array:
    share = np.empty_like(outputs)
    logistic(outputs, share)
    return share


def _one(classes: int) -> int:  # noqa: ARG001 - one output tells two classes apart
    return 1
