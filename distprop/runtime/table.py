"""A table as a host keeps it: two versions, of which a step writes the rows that were touched and no others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arena import Arena, Block, Slot
from distprop.nn.rows import Ids, Touched, summed, take
from distprop.optim.groups import Group
from distprop.runtime.memory import Vector

Rows = NDArray[np.float32]
Pair = tuple[Rows, Rows]

NOTHING: Ids = np.empty(0, np.int64)


class Part(NamedTuple):
    """The rows first..stop-1 of table number `table`, that lie in one slice.

    group: of the arena's view. blocks: those of the rows, in the arena. a_block: rows in a block.
    """

    table: int
    group: Group
    first: int
    stop: int
    slot: Slot
    blocks: tuple[Block, ...]
    a_block: int

    def of(self, flat: Vector, offset: int = 0) -> Rows:
        """These rows (R, k) of a vector whose first value is the arena's number `offset`."""
        width, start = self.slot.shape[-1], self.slot.start - offset
        return flat[start + self.first * width : start + self.stop * width].reshape(-1, width)

    def by_block(self, ids: Ids, rows: Rows) -> NDArray[np.float64]:
        """The sum of squares in each of the blocks, of rows (M, k) with ids that count from the first.

        In float64 row by row, in the order of ids: a slice with more rows has the same sums in its blocks.
        """
        squares = np.add.reduce(np.square(rows, dtype=np.float64), axis=1)
        return np.bincount(ids // self.a_block, squares, len(self.blocks)).astype(np.float64, copy=False)


def parts_of(arena: Arena, chosen: range, groups: Sequence[Group]) -> tuple[Part, ...]:
    """The parts of tables within a run of blocks, in their order. groups: of all views."""
    found, blocks, views = [], arena.blocks, arena.block_views
    first_table = len(arena.slots) - len(arena.tables)
    for view in sorted({views[block] for block in chosen if arena.slots[views[block]].table}):
        slot = arena.slots[view]
        mine = tuple(blocks[block] for block in chosen if views[block] == view)
        width = slot.shape[-1]
        first, stop = (mine[0].start - slot.start) // width, (mine[-1].stop - slot.start) // width
        whole = blocks[arena.view_blocks(view)][0]
        found.append(
            Part(view - first_table, groups[view], first, stop, slot, mine, (whole.stop - whole.start) // width)
        )
    return tuple(found)


class Table:
    """Two versions of some rows: of weights, and where they are made here of optimizer state, too.

    The buffer of version v + 1 is that of v - 1: it differs from v in the rows that made v, and these are copied before
    the rows that make v + 1 are written. So a step costs what it touches. Ids count from the part's first row.
    """

    def __init__(self, weights: Pair, state: Mapping[str, Pair]) -> None:
        self.weights, self.state = weights, state
        self._touched = [NOTHING, NOTHING]  # by the parity of the version that was made

    def level(self, version: int, state: bool) -> None:
        """All rows of `version` are those of the other buffer, too. state: of the state's; at first they are all 0."""
        for pair in self._pairs if state else (self.weights,):
            np.copyto(pair[1 - version % 2], pair[version % 2])
        self._touched = [NOTHING, NOTHING]

    def make(self, version: int, ids: Ids, weights: Rows, state: Mapping[str, Rows]) -> None:
        """Make `version` of the one before it, with these rows of weights (M, k) and state."""
        old, new = 1 - version % 2, version % 2
        for pair in self._pairs:
            late = self._touched[old]
            pair[new][late] = take(pair[old], late)
        self.weights[new][ids] = weights
        for name, rows in state.items():
            self.state[name][new][ids] = rows
        self._touched[new] = ids

    def made(self, version: int) -> Touched:
        """The rows that made `version`, which is one of the last two."""
        ids = self._touched[version % 2]
        return Touched(ids, take(self.weights[version % 2], ids))

    @property
    def _pairs(self) -> Sequence[Pair]:
        return (self.weights, *self.state.values())


def added_up(shares: Iterable[Touched], part: Part) -> Touched:
    """The part's rows of several lists: each id once, from the part's first row on, in order; and the sums (M, k).

    The order of the lists is that of leaves: so no sum depends on who sent what.
    """
    ids, rows = summed(concatenated(shares, part))
    return Touched(ids - part.first, rows)


def concatenated(shares: Iterable[Touched], part: Part) -> Touched:
    """The part's rows of several lists, one list behind the other."""
    kept = [_within(share, part) for share in shares]
    width = part.slot.shape[-1]
    return Touched(
        np.concatenate([NOTHING, *(share.ids for share in kept)]),
        np.concatenate([np.empty((0, width), np.float32), *(share.rows for share in kept)]),
    )


def _within(share: Touched, part: Part) -> Touched:
    mine = (share.ids >= part.first) & (share.ids < part.stop)
    return share if mine.all() else Touched(share.ids[mine], share.rows[mine])
