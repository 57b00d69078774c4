"""Exact medians of columns that need not fit into memory: four passes, each of which settles 16 bits of them.

The bits of a float64, its sign turned round, sort as the number does. So counting the values by their upper 16 bits
tells those of the median, counting those that begin so by their next 16 bits tells these, and so on: a radix select.
Counts do not depend on who counted what, nor in which order.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.feature import Feature
from distprop.data.part import Part

DIGIT, PASSES = 16, 4  # bits a pass settles
Key = tuple[str, int]  # a column and the place of the transform that learns
Bounds = tuple[int, int]
Counts = dict[tuple[Key, int], tuple[NDArray[Any], NDArray[Any]]]  # by key and prefix: digits and how often each is


def find_medians(
    part: Part,
    features: Sequence[Feature],
    bounds: Sequence[Bounds],
    spread: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]],
) -> dict[Key, float]:
    """The median of what each `impute: median` of the features sees; 0 where every value is missing.

    Of an even number of values it is the mean of the two in the middle. bounds: rows of the part, to be counted by
    `spread`, a map that may compute elsewhere.
    """
    keys = [(f.column.name, i) for f in features for i, t in enumerate(f.transforms) if t.need == "median"]
    if not keys:
        return {}
    middles: dict[Key, list[_Middle]] = {}
    for done in range(PASSES):
        prefixes = {key: sorted({middle.prefix for middle in middles.get(key, [_Middle(0, 0)])}) for key in keys}
        counts = _add_up(spread(CountDigits(part, tuple(features), prefixes, done), bounds))
        if not done:
            middles = {key: _ranks(int(counts[key, 0].sum())) for key in keys}
        middles = {key: [one.narrowed(counts[key, one.prefix]) for one in middles[key]] for key in keys}
    return {key: math.fsum(_number(one.prefix) for one in found) / 2 for key, found in middles.items()}


@dataclass(frozen=True)
class _Middle:
    """One of the two values in the middle: the bits that are known, and its rank among those that begin so."""

    prefix: int
    rank: int

    def narrowed(self, counts: NDArray[np.int64]) -> "_Middle":
        """The same, known by 16 more bits."""
        ends = np.cumsum(counts)
        digit = int(np.searchsorted(ends, self.rank, side="right"))
        return _Middle((self.prefix << DIGIT) | digit, self.rank - int(ends[digit] - counts[digit]))


def _ranks(count: int) -> list[_Middle]:
    return [_Middle(0, (count - 1) // 2), _Middle(0, count // 2)] if count else []


def _add_up(found: Iterable[Counts]) -> dict[tuple[Key, int], NDArray[np.int64]]:
    total: dict[tuple[Key, int], NDArray[np.int64]] = {}
    for counts in found:
        for key, (digits, often) in counts.items():
            total.setdefault(key, np.zeros(2**DIGIT, dtype=np.int64))[digits] += often
    return total


@dataclass(frozen=True)
class CountDigits:
    """A function of (first row, end) that can be sent to another process: counts values by their next 16 bits."""

    part: Part
    features: tuple[Feature, ...]
    prefixes: Mapping[Key, Sequence[int]]
    done: int  # passes

    def __call__(self, bounds: Bounds) -> Counts:
        """The counts of rows start..stop of the part."""
        total: dict[tuple[Key, int], NDArray[np.int64]] = {}
        part = self._narrow_part()
        for piece in part.pieces(*bounds):
            rows = part.read(piece.group).take(slice(piece.start, piece.stop))
            for key in self.prefixes:
                bits = _bits(self._values(key, rows.columns[key[0]]))
                for prefix in self.prefixes[key]:
                    counts = total.setdefault((key, prefix), np.zeros(2**DIGIT, dtype=np.int64))
                    counts += np.bincount(self._next_digit(bits, prefix), minlength=2**DIGIT)
        return {key: (np.flatnonzero(counts), counts[counts > 0]) for key, counts in total.items()}

    def _narrow_part(self) -> Part:
        """Reads only the columns that matter, and what tells the part's rows from others."""
        names = {name for name, _ in self.prefixes} | ({self.part.side.target} if self.part.side else set())
        return replace(self.part, columns=tuple(column for column in self.part.columns if column.name in names))

    def _values(self, key: Key, raw: NDArray[Any]) -> NDArray[np.float64]:
        feature = next(one for one in self.features if one.column.name == key[0])
        values = feature.before(key[1], raw)[:, 0].astype(np.float64)
        return values[~np.isnan(values)]

    def _next_digit(self, bits: NDArray[np.uint64], prefix: int) -> NDArray[np.intp]:
        known = np.uint64(DIGIT * self.done)
        begin = bits[bits >> (np.uint64(64) - known) == prefix] if self.done else bits
        return ((begin << known) >> np.uint64(64 - DIGIT)).astype(np.intp)


def _bits(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """(N,) uint64 in the order of the numbers."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    return np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(2**63))


def _number(bits: int) -> float:
    """The inverse of `_bits`."""
    back = bits - 2**63 if bits >= 2**63 else 2**64 - 1 - bits
    return float(np.array(back, dtype=np.uint64).view(np.float64))
