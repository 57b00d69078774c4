"""Where to call a row positive: thresholds of two classes, and what they cost and bring."""

import math
from typing import NamedTuple

import numpy as np

from distprop.nn.scored import Exact, Ranked


class Point(NamedTuple):
    """A row is called positive if its probability is `threshold` or more."""

    threshold: float
    sensitivity: float
    specificity: float


def best_point(ranked: Ranked, sensitivity: float | None = None) -> Point:
    """The highest threshold with that sensitivity; None: the one with the largest sum of both shares (Youden 1950).

    ranked: by raw outputs. The threshold lies midway between two scores, so that rounding does not move a row.
    """
    if sensitivity is None:
        place = int(np.argmax(ranked.sensitivity - ranked.false_alarms))
    else:
        place = int(np.argmax(ranked.sensitivity >= sensitivity))
    last = place + 1 == len(ranked.scores)
    between = -math.inf if last else 0.5 * (ranked.scores[place] + ranked.scores[place + 1])
    return _point(ranked, place, float(probability(np.asarray(between))))


def point_at(ranked: Ranked, threshold: float) -> Point:
    """What a threshold of the probability brings; ranked: by raw outputs."""
    called = int(np.count_nonzero(probability(ranked.scores) >= threshold))
    return _point(ranked, called - 1, threshold)


def probability(outputs: Exact) -> Exact:
    """The sigmoid of raw outputs."""
    with np.errstate(over="ignore"):  # exp of infinity is infinity, and its share 0
        return np.asarray(1.0 / (1.0 + np.exp(-outputs)))


def _point(ranked: Ranked, place: int, threshold: float) -> Point:
    """The point at which the scores up to `place` are called positive; -1: none."""
    if place < 0:
        return Point(threshold, 0.0, 1.0)
    return Point(threshold, float(ranked.sensitivity[place]), 1.0 - float(ranked.false_alarms[place]))
