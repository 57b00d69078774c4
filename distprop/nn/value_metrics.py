"""Metrics of regressions, read from sums, exact to rounding in float64. Several outputs: the mean over them."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.arrays import Array
from distprop.nn.loss import matrix, per_cent, weighted_sum
from distprop.nn.metric import VALUES, Metric, Sums, mean_of, one_sum
from distprop.nn.settings import require_number


def errors(outputs: Array, targets: Array) -> Sums:
    """Give outputs - targets, float64 (N, K)."""
    return matrix(outputs) - matrix(targets.astype(np.float64, copy=False))


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


def _explained(total: Sums, weight: float, by_spread: bool = False) -> float:
    """1 - (squared errors) / (spread of the targets), mean over outputs; constant targets: 1 if met, else 0.

    by_spread: each output counts by the spread of its target, unless all are constant.
    """
    if not weight:
        return math.nan
    squared, targets, squares = total.reshape(3, -1)
    spread = np.maximum(squares - targets * targets / weight, 0.0)
    constant = spread <= 1e-14 * squares  # what is left is rounding
    shares = np.where(constant, squared > 1e-14 * squares, squared / np.where(constant, 1.0, spread))
    counts = np.where(constant, 0.0, spread) if by_spread and not constant.all() else None
    return float(np.average(1.0 - shares, weights=counts))


mae = Metric("mae", VALUES, one_sum, _absolute, mean_of)
"""Mean absolute error."""
mse = Metric("mse", VALUES, one_sum, _squares, mean_of)
"""Mean squared error."""
rmse = Metric("rmse", VALUES, one_sum, _squares, lambda total, weight: math.sqrt(mean_of(total, weight)))
"""Root of the mean squared error."""
r2 = Metric("r2", VALUES, lambda outputs: 3 * outputs, _spread, _explained, higher_is_better=True)
"""The share of the targets' variance that is explained, of several outputs the mean of their shares.

As scikit-learn's r2_score with its default, `multioutput="uniform_average"`.
"""
r2_variance_weighted = r2._replace(name="r2_variance_weighted", value=partial(_explained, by_spread=True))
"""The same with each output counting by its target's variance, in the target's units: that of all outputs together.

As scikit-learn's r2_score with `multioutput="variance_weighted"`.
"""


def pinball(quantiles: Sequence[float] | float | None = None, outputs_at: tuple[float, ...] = ()) -> Metric:
    """The loss that is smallest at the target's quantiles (Koenker & Bassett 1978, Econometrica), mean over them.

    outputs_at: the quantiles that the model's outputs stand for; empty: its outputs are values, and the target's as
    many. quantiles: which to measure, of `outputs_at` or, of values, any one; None: all, or 0.5. One quantile q is
    called `pinball_` and its per cent. As scikit-learn's mean_pinball_loss, to 1e-12.
    """
    given = quantiles if quantiles is None or isinstance(quantiles, Sequence) else [quantiles]
    asked = tuple(given) if given is not None else outputs_at or (0.5,)
    for one in asked:
        require_number("metrics.pinball", one, 1e-9, 1.0)
    if not asked or (outputs_at and not set(asked) <= set(outputs_at)) or (not outputs_at and len(asked) > 1):
        has = ", ".join(f"{q:g}" for q in outputs_at)
        raise ConfigError(
            f"metric pinball asks for the quantiles {list(asked)}",
            f"the model gives those at {has}" if outputs_at else "the model gives values: one quantile can be measured",
            "name quantiles of the loss `pinball`, or one, as `pinball: 0.5`",
        )
    q, places = np.array(asked), [outputs_at.index(one) for one in asked] if outputs_at else None

    def sums(outputs: Array, targets: Array, weights: Array | None) -> Sums:
        e = -errors(outputs if places is None else matrix(outputs)[:, places], targets)
        return np.array([weighted_sum(np.maximum(q * e, (q - 1.0) * e).mean(axis=1), weights)])

    name = f"pinball_{per_cent(asked[0])}" if given is not None and len(asked) == 1 else "pinball"
    return Metric(name, VALUES, one_sum, sums, mean_of)
