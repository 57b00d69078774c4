"""Columns that may give the target away: cheap signs of what would not be known when the model is used."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME, CLOSE = 0.9999, 0.95  # correlations
FEW = 50  # different values that are few enough to stand for classes
ROWS = 30  # fewer say nothing
LETTERS = 4  # of a word that two names share by more than chance


@dataclass(frozen=True)
class Sign:
    """Why a column may be no feature. sure: it should be left out, unless there is no other one."""

    why: str
    sure: bool = False


def leak(name: str, values: NDArray[Any] | None, target: str, answers: NDArray[Any] | None) -> Sign | None:
    """The strongest sign that a column gives the target away, or None.

    values, answers: raw values (N,) of single columns, numbers or digests of texts; None for lists.
    """
    found = None
    if values is not None and answers is not None and len(values) > ROWS:
        found = _by_order(values) or _by_classes(values, answers) or _by_correlation(values, answers)
    return found or _by_name(name, target)


def _by_order(values: NDArray[Any]) -> Sign | None:
    if values.dtype == np.uint64 or not (values[1:] > values[:-1]).all():  # texts have no order
        return None
    if (values == np.floor(values)).all():
        return Sign("it goes up from row to row, as numbers of rows do", sure=True)
    return Sign("it goes up from row to row: later rows will have values that training never saw")


def _by_classes(values: NDArray[Any], answers: NDArray[Any]) -> Sign | None:
    """Few values, each of which goes with one value of the target."""
    kinds, which = np.unique(values, return_inverse=True)
    classes, answer = np.unique(answers, return_inverse=True)
    if not 1 < len(kinds) <= FEW or len(classes) < 2 or len(values) < 5 * len(kinds):
        return None
    pairs = len(np.unique(which * len(classes) + answer))
    if pairs > len(kinds):
        return None
    same = len(kinds) == len(classes)
    return Sign("it is the target by other names" if same else "each of its values goes with one class only", sure=same)


def _by_correlation(values: NDArray[Any], answers: NDArray[Any]) -> Sign | None:
    if values.dtype == np.uint64 or answers.dtype == np.uint64:
        return None
    x, y = values.astype(np.float64), answers.astype(np.float64)
    here = np.isfinite(x) & np.isfinite(y)
    x, y = x[here] - x[here].mean(), y[here] - y[here].mean()
    spread = np.sqrt((x @ x) * (y @ y))
    size = abs(float(x @ y)) / float(spread) if spread > 0 else 0.0
    if size < CLOSE:
        return None
    return Sign(f"its correlation with the target is {size:.4f}: is it known before the answer is?", size >= SAME)


def _by_name(name: str, target: str) -> Sign | None:
    shared = [word for word in _words(name) if len(word) >= LETTERS and word in _words(target)]
    return Sign(f"`{shared[0]}` is in the target's name, too: is it known before the answer is?") if shared else None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())
