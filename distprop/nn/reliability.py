"""Curves of two classes for pictures: how rows are ranked, and whether probabilities are what they say."""

from typing import NamedTuple

import numpy as np

from distprop.nn.operating import Point, best_point, point_at, probability
from distprop.nn.rank_metrics import rank_class
from distprop.nn.scored import Scored

MOST_POINTS = 200
BINS = 10


class Curves(NamedTuple):
    """Plain values.

    roc: (1 - specificity, sensitivity) from (0, 0) to (1, 1), at most MOST_POINTS of them.
    calibration: (mean probability, share of positive rows, weight of rows) of each tenth of probabilities that has any.
    """

    roc: tuple[tuple[float, float], ...]
    calibration: tuple[tuple[float, float, float], ...]
    point: Point


def curves_of(rows: Scored, threshold: float | None = None) -> Curves | None:
    """The curves of two classes with the point at `threshold`, else the best one; None where one class is missing."""
    ranked = rank_class(rows, 1)
    if ranked is None:
        return None
    shown = np.unique(np.linspace(0, len(ranked.scores) - 1, MOST_POINTS - 1).astype(np.intp))
    roc = zip(ranked.false_alarms[shown].tolist(), ranked.sensitivity[shown].tolist(), strict=True)
    point = best_point(ranked) if threshold is None else point_at(ranked, threshold)
    return Curves(((0.0, 0.0), *roc), calibration(rows), point)


def calibration(rows: Scored) -> tuple[tuple[float, float, float], ...]:
    """Mean probability, share of positive rows and weight by tenths; as scikit-learn's calibration_curve."""
    shares = probability(rows.outputs[:, 0])
    places = np.minimum((shares * BINS).astype(np.intp), BINS - 1)
    weight = np.bincount(places, rows.weights, BINS)
    means, positive = (np.bincount(places, rows.weights * of, BINS) for of in (shares, rows.targets))
    seen = np.flatnonzero(weight > 0)
    found = (means[seen] / weight[seen], positive[seen] / weight[seen], weight[seen])
    return tuple(zip(*(values.tolist() for values in found), strict=True))
