"""Losses of classifications."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.activations import logistic
from distprop.nn.arrays import Array
from distprop.nn.loss import Loss, by_row, same_count, weigh_rows, weighted_sum
from distprop.nn.settings import require_number
from distprop.nn.softmax import softmax_rows


def softmax_cross_entropy(label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> Loss:
    """-log of the probability that softmax(outputs) gives the label, in nats.

    outputs (N, K); labels (N,) int in 0..K-1. label_smoothing s: the target gives the label 1 - s, and all K
    classes s / K (Szegedy et al. 2016, arXiv:1512.00567). class_weights (K,): a row's loss is multiplied by the
    weight of its label; what it is divided by in the end, the sum of row weights, is not.

    That is the definition of Keras' `class_weight`. The mean of PyTorch's CrossEntropyLoss(weight=...) divides by the
    sum of the labels' weights instead: ours is PyTorch's, times the mean of class_weights[label] over the batch. With
    `balanced` that factor is 1 over all training rows, so the learning rate keeps its meaning. With label_smoothing it
    is Keras' definition, too: the whole smoothed loss of a row is multiplied by the weight of its label, where PyTorch
    multiplies each class' part by that class' weight.
    """
    require_number("softmax_cross_entropy.label_smoothing", label_smoothing, 0.0, 1.0)
    by_class = _by_class("softmax_cross_entropy", class_weights)
    value_and_gradient = partial(_softmax_cross_entropy, smoothing=label_smoothing, by_class=by_class)
    return Loss(
        "softmax_cross_entropy", "classification", value_and_gradient, _shares, same_count, normalizes="softmax"
    )


def binary_cross_entropy(label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> Loss:
    """-log of the probability that sigmoid(outputs) gives the label, in nats.

    outputs (N, 1) or (N,); labels (N,) 0/1. label_smoothing s: the target is 1 - s / 2 for 1, s / 2 for 0.
    class_weights (2,): as in softmax_cross_entropy, also with label_smoothing. PyTorch's BCEWithLogitsLoss has
    `pos_weight` in their place, which is [1, pos_weight] here without label_smoothing.
    """
    require_number("binary_cross_entropy.label_smoothing", label_smoothing, 0.0, 1.0)
    by_class = _by_class("binary_cross_entropy", class_weights)
    value_and_gradient = partial(_binary_cross_entropy, smoothing=label_smoothing, by_class=by_class)
    return Loss("binary_cross_entropy", "binary", value_and_gradient, _probability, _one, normalizes="sigmoid")


def _softmax_cross_entropy(
    outputs: Array, targets: Array, weights: Array | None, dout: Array, smoothing: float, by_class: Array | None
) -> float:
    weights = _with_classes(weights, targets, by_class)
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
    outputs: Array, targets: Array, weights: Array | None, dout: Array, smoothing: float, by_class: Array | None
) -> float:
    weights = _with_classes(weights, targets, by_class)
    if smoothing:
        targets = targets * (1.0 - smoothing) + 0.5 * smoothing
    z, t = outputs.astype(np.float64, copy=False).reshape(-1), targets.reshape(-1)
    values = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
    logistic(outputs, dout)
    np.subtract(dout, by_row(targets, dout), out=dout)
    weigh_rows(dout, weights)
    return weighted_sum(values, weights)


def _by_class(loss: str, class_weights: Sequence[float] | None) -> Array | None:
    if class_weights is None:
        return None
    if isinstance(class_weights, str) or not isinstance(class_weights, Sequence) or len(class_weights) < 2:
        raise ConfigError(
            f"`{loss}.class_weights` is {class_weights!r}",
            "it is a list of one number for each class",
            "write class_weights: [1.0, 2.5], or in a job also `balanced`",
        )
    for one in class_weights:
        require_number(f"{loss}.class_weights", one, 0.0)
    return np.array(class_weights, np.float64)


def _with_classes(weights: Array | None, targets: Array, by_class: Array | None) -> Array | None:
    """Row weights (N,), each multiplied by the weight of its row's class."""
    if by_class is None:
        return weights
    own = by_class[targets.reshape(-1).astype(np.intp, copy=False)]
    return own if weights is None else own * weights


def _shares(outputs: Array) -> Array:
    return softmax_rows(outputs, np.empty_like(outputs))


def _probability(outputs: Array) -> Array:
    share = np.empty_like(outputs)
    logistic(outputs, share)
    return share


def _one(classes: int) -> int:  # noqa: ARG001 - one output tells two classes apart
    return 1
