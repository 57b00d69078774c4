"""Rows with their scores: what metrics are measured on that no sum over rows can give."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.softmax import softmax_rows

Exact = NDArray[np.float64]


class Scored(NamedTuple):
    """All rows of a split in the data's order: raw outputs (N, K), targets (N,) and row weights (N,)."""

    outputs: Exact
    targets: Exact
    weights: Exact

    @property
    def of_class(self) -> tuple[int, ...]:
        """The classes that can be told from the rest: of two classes the second."""
        width = self.outputs.shape[1]
        return tuple(range(width)) if width > 1 else (1,)

    def scores(self) -> Exact:
        """A score (N, classes) for each of `of_class`: probabilities, but of two classes the raw output."""
        return self.outputs if self.outputs.shape[1] == 1 else softmax_rows(self.outputs, np.empty_like(self.outputs))


class Ranked(NamedTuple):
    """Different scores (G,) from the highest down, and the weights of positive and of other rows up to each, added."""

    scores: Exact
    positives: Exact
    others: Exact

    @property
    def sensitivity(self) -> Exact:
        """The share of positive rows whose score is as high."""
        return np.asarray(self.positives / self.positives[-1])

    @property
    def false_alarms(self) -> Exact:
        """The share of other rows whose score is as high."""
        return np.asarray(self.others / self.others[-1])


def rank(scores: Exact, positive: NDArray[np.bool_], weights: Exact) -> Ranked | None:
    """Rank rows (N,); None where one of both kinds of rows has no weight, or a score is NaN."""
    if np.isnan(scores).any():
        return None
    falling, group = np.unique(-scores, return_inverse=True)
    ups, downs = (np.bincount(group, np.where(of, weights, 0.0), falling.size) for of in (positive, ~positive))
    ranked = Ranked(-falling, np.cumsum(ups), np.cumsum(downs))
    return ranked if len(scores) and ranked.positives[-1] > 0 and ranked.others[-1] > 0 else None
