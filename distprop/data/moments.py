"""Count, mean and spread of columns, in float64, merged without loss of precision."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of each value of a column (width,): count, mean, sum of squared deviations, lowest and highest."""

    count: FloatVector
    mean: FloatVector
    m2: FloatVector
    low: FloatVector
    high: FloatVector

    @property
    def std(self) -> FloatVector:
        """Standard deviation over all values seen (divided by the count)."""
        return np.sqrt(self.m2 / np.maximum(self.count, 1.0))

    def to_json(self) -> dict[str, list[float]]:
        """Plain lists; NaN-free where there are values."""
        return {name: getattr(self, name).tolist() for name in ("count", "mean", "m2", "low", "high")}

    @classmethod
    def from_json(cls, made: dict[str, list[float]]) -> "Moments":
        """The inverse of `to_json`."""
        return cls(**{name: np.array(values, dtype=np.float64) for name, values in made.items()})


def moments_of(values: NDArray[Any]) -> Moments:
    """Moments of values (N, width); NaN are missing values and do not count."""
    x = values.astype(np.float64)
    here = ~np.isnan(x)
    if here.all():
        return _of_whole(x)
    count = here.sum(axis=0).astype(np.float64)
    mean = np.where(here, x, 0.0).sum(axis=0) / np.maximum(count, 1.0)
    m2 = np.where(here, (x - mean) ** 2, 0.0).sum(axis=0)
    low = np.where(here, x, np.inf).min(axis=0, initial=np.inf)
    high = np.where(here, x, -np.inf).max(axis=0, initial=-np.inf)
    return Moments(count, mean, m2, low, high)


def _of_whole(x: FloatVector) -> Moments:
    count = np.full(x.shape[1], float(len(x)))
    mean = x.sum(axis=0) / np.maximum(count, 1.0)
    low, high = x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)
    x -= mean
    np.square(x, out=x)
    return Moments(count, mean, x.sum(axis=0), low, high)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Moments of both together (Chan, Golub and LeVeque 1979, "Updating formulae")."""
    count = a.count + b.count
    share = b.count / np.maximum(count, 1.0)
    delta = b.mean - a.mean
    mean = a.mean + delta * share
    m2 = a.m2 + b.m2 + delta * delta * a.count * share
    return Moments(count, mean, m2, np.minimum(a.low, b.low), np.maximum(a.high, b.high))
