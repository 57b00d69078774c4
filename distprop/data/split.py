"""`valid: {fraction: 0.1, stratify: true}`: which rows are held out, by each row's identity.

A row's ticket is a hash of the seed and its position in the data. The rows with the lowest tickets (of each class,
where stratified) are held out, so the split is exact, the same for any number of shards, and known from one bound a
class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.receipt import mix
from distprop.philox import bits

SPLIT = 5  # purpose of the draw


def tickets(seed: int, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(N,) uint64, as good as random."""
    key = bits(seed, SPLIT, (0, 0, 0), 2)
    return mix(mix(positions.astype(np.uint64) + key[0]) ^ key[1])


def bound(ordered: NDArray[np.uint64], fraction: float) -> int:
    """The ticket below which `fraction` of these (sorted) lie, to the nearest whole row."""
    held = int(fraction * len(ordered) + 0.5)
    return int(ordered[held]) if held < len(ordered) else 2**64 - 1


@dataclass(frozen=True)
class Side:
    """One side of a split: the held-out rows, or the others. `counts` has its rows of every row group.

    target: the column that holds the classes, where stratified. classes: its raw values, sorted; (0,) where
    not.
    bounds: rows of class i with tickets below bounds[i] are held out.
    """

    seed: int
    held_out: bool
    target: str | None
    classes: tuple[Any, ...]
    bounds: tuple[int, ...]
    counts: tuple[int, ...]

    def takes(self, positions: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Which rows are on this side, (N,)."""
        bounds = np.array(self.bounds, dtype=np.uint64)
        if self.target is not None:
            labels = columns[self.target]
            bounds = bounds[np.searchsorted(np.array(self.classes, dtype=labels.dtype), labels)]
        held = tickets(self.seed, positions) < bounds
        return held if self.held_out else ~held
