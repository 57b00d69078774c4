"""Losses of regressions: means over a row's outputs."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.arrays import Array
from distprop.nn.loss import Loss, by_row, matrix, same_count, weigh_rows, weighted_sum
from distprop.nn.settings import require_number

LOG_TURN = math.log(2.0 * math.pi)
SMALLEST_RATE = 1e-6  # below it the logarithm is continued as a straight line


def mean_squared_error() -> Loss:
    """The squared error, as mean over a row's K outputs. outputs (N, K) or (N,); targets float of as many values."""

    def value_and_gradient(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
        np.subtract(outputs, by_row(targets, outputs), out=dout)
        rows = matrix(dout)
        value = weighted_sum(np.mean(np.square(rows, dtype=np.float64), axis=1), weights)
        np.multiply(dout, 2.0 / rows.shape[1], out=dout)
        weigh_rows(dout, weights)
        return value

    return Loss("mean_squared_error", "regression", value_and_gradient, np.copy, same_count, in_units=_values_in_units)


def mean_absolute_error() -> Loss:
    """The absolute error, as mean over a row's K outputs; at 0 the derivative is 0. Shapes as mean_squared_error."""
    return _by_error("mean_absolute_error", np.abs, lambda e: np.sign(e, out=e))


def huber(delta: float = 1.0) -> Loss:
    """Half the squared error e where |e| < delta, else delta (|e| - delta / 2), as mean over a row's K outputs.

    Source: Huber 1964, Annals of Mathematical Statistics. Shapes as mean_squared_error.
    """
    require_number("huber.delta", delta, 1e-12)

    def value(e: Array) -> Array:
        near = np.minimum(np.abs(e), delta)
        return np.asarray(near * (np.abs(e) - 0.5 * near))

    return _by_error("huber", value, lambda e: np.clip(e, -delta, delta, out=e))


def pinball(quantiles: Sequence[float] | float = (0.5,)) -> Loss:
    """The loss that is smallest at the target's quantiles, one output for each (Koenker & Bassett 1978, Econometrica).

    For quantile q and e = target - output: q e where e > 0, else (q - 1) e; mean over the quantiles.
    outputs (N, Q); targets (N,) or (N, 1).
    """
    each = list(quantiles) if isinstance(quantiles, Sequence) else [quantiles]
    for one in each:
        require_number("pinball.quantiles", one, 1e-9, 1.0)
    if not each:
        raise ConfigError("`pinball.quantiles` is empty", "each quantile is an output", "write [0.1, 0.5, 0.9]")
    q = np.array(each)

    def value_and_gradient(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
        rows, d = matrix(outputs), matrix(dout)
        e = matrix(targets).astype(np.float64) - rows
        value = weighted_sum(np.maximum(q * e, (q - 1.0) * e).mean(axis=1), weights)
        np.divide(np.where(e > 0, -q, np.where(e < 0, 1.0 - q, 0.0)), len(q), out=d, casting="same_kind")
        weigh_rows(dout, weights)
        return value

    def outputs_for(width: int) -> int:  # noqa: ARG001 - one target
        return len(q)

    made = Loss("pinball", "regression", value_and_gradient, np.copy, outputs_for, in_units=_values_in_units)
    return made._replace(quantiles=tuple(q.tolist()))


def poisson() -> Loss:
    """-log of the probability of a count, less what no model changes: rate - target log(rate), mean over K outputs.

    outputs (N, K) or (N,): rates, not their logarithms; end the model with `softplus`. targets: counts, as many.
    """

    def value_and_gradient(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
        rate, counts = matrix(outputs).astype(np.float64), matrix(targets).astype(np.float64)
        safe = np.maximum(rate, SMALLEST_RATE)
        logarithm = np.log(safe) + (rate - safe) / SMALLEST_RATE
        value = weighted_sum((rate - counts * logarithm).mean(axis=1), weights)
        np.divide(1.0 - counts / safe, rate.shape[1], out=matrix(dout), casting="same_kind")
        weigh_rows(dout, weights)
        return value

    return Loss("poisson", "regression", value_and_gradient, np.copy, same_count)


def gaussian() -> Loss:
    """-log of the density that a normal distribution gives the target, in nats, mean over a target's K values.

    outputs (N, 2 K): K means, then the K logarithms of the variances; targets (N, K) or (N,). What is predicted and
    measured is the means. Source: Nix & Weigend 1994, "Estimating the mean and variance of the target probability
    distribution", ICNN.
    """

    def value_and_gradient(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
        exact, width = outputs.astype(np.float64), outputs.shape[1] // 2
        error, precision = exact[:, :width] - matrix(targets), np.exp(-exact[:, width:])
        squares = np.square(error) * precision
        value = weighted_sum(0.5 * (LOG_TURN + exact[:, width:] + squares).mean(axis=1), weights)
        np.divide(error * precision, width, out=dout[:, :width], casting="same_kind")
        np.divide(0.5 * (1.0 - squares), width, out=dout[:, width:], casting="same_kind")
        weigh_rows(dout, weights)
        return value

    def activation(outputs: Array) -> Array:
        return _means(outputs).copy()

    made = Loss("gaussian", "regression", value_and_gradient, activation, lambda width: 2 * width, point=_means)
    return made._replace(in_units=_density_in_units)


def _values_in_units(outputs: Array, mean: Array, std: Array) -> Array:
    """Values or quantiles of a standardized target, in its own units."""
    return outputs.astype(np.float64) * std + mean


def _density_in_units(outputs: Array, mean: Array, std: Array) -> Array:
    """Means and logarithms of variances, in the target's own units and their squares."""
    width = outputs.shape[1] // 2
    logs = outputs[:, width:].astype(np.float64) + 2.0 * np.log(std)
    return np.concatenate([_values_in_units(outputs[:, :width], mean, std), logs], axis=1)


def _means(outputs: Array) -> Array:
    return outputs[:, : outputs.shape[1] // 2]


def _by_error(name: str, value: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Loss:
    """The mean over outputs of value(output - target); slope rewrites errors as derivatives."""

    def value_and_gradient(outputs: Array, targets: Array, weights: Array | None, dout: Array) -> float:
        np.subtract(outputs, by_row(targets, outputs), out=dout)
        rows = matrix(dout)
        total = weighted_sum(value(rows.astype(np.float64)).mean(axis=1), weights)
        slope(dout)
        np.divide(dout, rows.shape[1], out=dout)
        weigh_rows(dout, weights)
        return total

    return Loss(name, "regression", value_and_gradient, np.copy, same_count, in_units=_values_in_units)
