"""Metrics of how rows are ranked: measured on the scores of all rows of a split, gathered. In float64, in order."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.metric import CLASSES, Metric, no_sums, nothing, unread
from distprop.nn.operating import Point, best_point, point_at
from distprop.nn.scored import Ranked, Scored, rank
from distprop.nn.settings import require_number

ABOVE_ONE = math.nextafter(1.0, 2.0)
POINT = ("operating_threshold", "operating_sensitivity", "operating_specificity")


def roc_auc() -> Metric:
    """The share of pairs of a positive and another row that are ranked rightly; pairs of equal scores count half.

    Of more than two classes: each against the rest by its probability, then the mean over those that were seen. As
    scikit-learn's roc_auc_score (ovr, macro), to 1e-12. Source: Hanley & McNeil 1982, Radiology 143.
    """
    return _ranking("roc_auc", area)


def average_precision() -> Metric:
    """The mean of precisions at each score, weighted by what it adds to recall; over classes as roc_auc.

    As scikit-learn's average_precision_score, to 1e-12.
    """
    return _ranking("average_precision", mean_precision)


def operating_point(sensitivity: float | None = None, threshold: float | None = None) -> Metric:
    """The probability from which on a row is called positive, with the sensitivity and specificity that it has.

    Neither: where sensitivity + specificity is largest (Youden 1950, Cancer 3). sensitivity: the highest threshold
    that has it. threshold: this one. For two classes.
    """
    if sensitivity is not None and threshold is not None:
        raise ConfigError(
            "`operating_point` has both a sensitivity and a threshold", "one gives the other", "keep one of them"
        )
    for name, value in (("sensitivity", sensitivity), ("threshold", threshold)):
        if value is not None:
            require_number(f"operating_point.{name}", value, 0.0, ABOVE_ONE)

    def of_rows(rows: Scored) -> Mapping[str, float]:
        ranked = rank_class(rows, 1)
        found = point_of(ranked, sensitivity, threshold) if ranked else Point(*3 * (math.nan,))
        return dict(zip(POINT, found, strict=True))

    metric = _ranking("operating_point", area)
    return metric._replace(tasks=("binary",), of_rows=of_rows, parts=POINT)


def point_of(ranked: Ranked, sensitivity: float | None, threshold: float | None) -> Point:
    """The operating point that is asked for."""
    return best_point(ranked, sensitivity) if threshold is None else point_at(ranked, threshold)


def rank_class(rows: Scored, of: int) -> Ranked | None:
    """Rows ranked by their scores for a class of `rows.of_class`; None where there is nothing to tell apart."""
    return rank(rows.scores()[:, rows.of_class.index(of)], rows.targets == of, rows.weights)


def area(ranked: Ranked) -> float:
    """The area under the curve of sensitivity over false alarms."""
    ups, below = np.diff(ranked.positives, prepend=0.0), ranked.others[-1] - ranked.others
    level = np.diff(ranked.others, prepend=0.0)
    return float(np.sum(ups * (below + 0.5 * level)) / (ranked.positives[-1] * ranked.others[-1]))


def mean_precision(ranked: Ranked) -> float:
    """The sum over scores of precision x the recall that the score adds."""
    called = ranked.positives + ranked.others
    precision = np.divide(ranked.positives, called, out=np.zeros_like(called), where=called > 0)
    return float(np.sum(np.diff(ranked.sensitivity, prepend=0.0) * precision))


def _ranking(name: str, of_class: Callable[[Ranked], float]) -> Metric:
    """A metric of rankings: the mean over the classes that can be told from the rest; NaN where none can."""

    def of_rows(rows: Scored) -> float:
        scores = rows.scores()
        ranked = [rank(scores[:, at], rows.targets == of, rows.weights) for at, of in enumerate(rows.of_class)]
        found = [of_class(one) for one in ranked if one is not None]
        return math.fsum(found) / len(found) if found else math.nan

    return Metric(
        name,
        CLASSES,
        no_sums,
        nothing,
        unread,
        higher_is_better=True,
        of_rows=of_rows,
    )
