"""Finding a split: one pass over the target column where it is stratified, none where it is not."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Column
from distprop.data.part import Part
from distprop.data.source import Source
from distprop.data.split import Side, bound, tickets
from distprop.errors import DataError

Tickets = dict[Any, NDArray[np.uint64]]  # class -> sorted tickets of a row group
SplitMap = Callable[[Callable[[int], Tickets], Iterable[int]], Iterable[Tickets]]


def split_source(
    source: Source, target: Column | None, fraction: float, seed: int, split_map: SplitMap = map
) -> tuple[Side, Side]:
    """Split into (the rows left to train on, the rows held out), stratified by `target` where given.

    Raises DataError. Holds 8 bytes a row while it runs.
    """
    if not 0.0 < fraction < 1.0:
        raise DataError(
            f"data.valid.fraction is {fraction}",
            "it is the share of rows to hold out",
            "use a number between 0 and 1, such as 0.1",
        )
    groups = list(split_map(_Draw(source, target, seed), range(len(source.row_groups))))
    classes = tuple(sorted({value for group in groups for value in group}))
    bounds = tuple(bound(_all_of(groups, value), fraction) for value in classes)
    held = [_held(group, dict(zip(classes, bounds, strict=True))) for group in groups]
    left = [group.rows - rows for group, rows in zip(source.row_groups, held, strict=True)]
    if not sum(held) or not sum(left):
        raise DataError(
            f"data.valid.fraction {fraction} of {source.rows} rows leaves one side empty",
            f"{sum(held)} rows would be held out",
            "use another fraction, or more data",
        )
    name = target.name if target else None
    sides = [Side(seed, side, name, classes, bounds, tuple(n)) for side, n in ((False, left), (True, held))]
    return sides[0], sides[1]


@dataclass(frozen=True)
class _Draw:
    """The tickets of a row group, by class; can be sent to another process."""

    source: Source
    target: Column | None
    seed: int

    def __call__(self, group: int) -> Tickets:
        first, rows = self.source.row_groups[group].first_row, self.source.row_groups[group].rows
        drawn = tickets(self.seed, np.arange(first, first + rows))
        if self.target is None:
            return {0: np.sort(drawn)}
        labels = Part(self.source, (self.target,)).read(group).columns[self.target.name]
        return {value: np.sort(drawn[labels == value]) for value in np.unique(labels).tolist()}


def _all_of(groups: Sequence[Tickets], value: Any) -> NDArray[np.uint64]:
    return np.sort(np.concatenate([group[value] for group in groups if value in group]))


def _held(group: Tickets, bounds: dict[Any, int]) -> int:
    return sum(int(np.searchsorted(drawn, np.uint64(bounds[value]))) for value, drawn in group.items())
