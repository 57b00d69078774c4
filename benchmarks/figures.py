"""Numbers from measurements: medians, spreads, samples."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

WARM_SHARE = 0.1
"""Share of a block's steps that is not counted: memory is touched for the first time there."""


def samples(times: Sequence[float], group: int, warm: int | None = None) -> list[float]:
    """Step times in milliseconds from the moments (seconds) at which steps ended: means of `group` successive steps.

    warm: steps at the start that are not counted; by default a share of them, and at least two.
    """
    skipped = max(2, round(len(times) * WARM_SHARE)) if warm is None else warm
    marks = times[skipped::group]
    return [1e3 * (after - before) / group for before, after in pairwise(marks)]


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median; NaN of fewer than two values."""
    if len(values) < 2:
        return float("nan")
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle if middle else float("nan")


def gap(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest relative difference between two series of losses. Raises ValueError where their lengths differ."""
    pairs = zip(ours, theirs, strict=True)
    return max((abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in pairs), default=0.0)
