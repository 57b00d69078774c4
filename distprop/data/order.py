"""In which order a shard's rows come: a pure function of (seed, epoch, shard), found in O(1) for any step.

Row groups are permuted, and then rows within windows of `shuffle_rows` of that order: two small draws, no
state.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distprop.philox import permutation

GROUPS, ROWS = 3, 4  # purposes of the draws


@dataclass(frozen=True)
class Piece:
    """Rows start..stop of those a row group has for us."""

    group: int
    start: int
    stop: int


@dataclass(frozen=True)
class Window:
    """Rows that are read together: `pieces` one after the other, then taken in the order of `shuffle`."""

    pieces: tuple[Piece, ...]
    shuffle: NDArray[np.intp]


@dataclass(frozen=True)
class ShardOrder:
    """The epoch orders of one shard's rows; `pieces` are its rows as stored."""

    pieces: tuple[Piece, ...]
    seed: int
    shard: int
    window_rows: int

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array([piece.stop - piece.start for piece in self.pieces], dtype=np.int64)

    @cached_property
    def rows(self) -> int:
        """Rows of the shard."""
        return int(self._sizes.sum())

    def window(self, epoch: int, index: int) -> Window:
        """Window `index` of an epoch: rows [index * window_rows, ...) of the epoch's order."""
        pieces = self.window_pieces(epoch, index)
        rows = sum(piece.stop - piece.start for piece in pieces)
        return Window(pieces, permutation(self.seed, ROWS, (epoch, self.shard, index), rows))

    def window_pieces(self, epoch: int, index: int) -> tuple[Piece, ...]:
        """What a window reads, without the draw of its rows' order."""
        start = index * self.window_rows
        return self._between(epoch, start, min(start + self.window_rows, self.rows))

    def _between(self, epoch: int, start: int, stop: int) -> tuple[Piece, ...]:
        order = permutation(self.seed, GROUPS, (epoch, self.shard, 0), len(self.pieces))
        ends = np.cumsum(self._sizes[order])
        first = int(np.searchsorted(ends, start, side="right"))
        last = int(np.searchsorted(ends, stop, side="left"))
        return tuple(self._clip(int(order[i]), int(ends[i]), start, stop) for i in range(first, last + 1))

    def _clip(self, index: int, end: int, start: int, stop: int) -> Piece:
        """The part of a piece, which ends at `end` of the epoch's order, that lies in start..stop."""
        piece, begin = self.pieces[index], end - int(self._sizes[index])
        return Piece(piece.group, piece.start + max(0, start - begin), piece.start + min(stop, end) - begin)
