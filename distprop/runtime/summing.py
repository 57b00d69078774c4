"""Partial sums as a server reads them: its workers' where they lie, those of other hosts as they came."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from distprop.loops.playing import play
from distprop.loops.tape import Op, Register, Tape
from distprop.nn.rows import Touched
from distprop.nn.workspace import aligned
from distprop.runtime.memory import Arrived, Slot, SlotLayout, Tail, Vector, tail_in
from distprop.runtime.table import Part, concatenated

Handle = Slot | Arrived


class Scratch(threading.local):
    """Each thread's memory for runs, kept: a steady step allocates nothing large."""

    def __init__(self) -> None:
        self._kept: list[Vector] = []

    def at(self, depth: int, size: int) -> Vector:
        """Uninitialized values, (size,); others than those of any other depth."""
        while len(self._kept) <= depth:
            self._kept.append(np.empty(0, np.float32))
        if self._kept[depth].size < size:
            self._kept[depth] = aligned(size, np.dtype(np.float32))
        return self._kept[depth][:size]


class Addends(NamedTuple):
    """What a tape with a sum on it reads beside other registers: partial sums, and rooms between them.

    gradients: the partial sums (n,), of which each run has its part.  depth: registers between, which come first.
    lasts: whether they may be kept: nothing of them came from another host, which would lie in memory for as long.
    """

    gradients: tuple[Vector, ...] = ()
    depth: int = 0
    lasts: bool = False

    def vectors(self, run: slice, scratch: Scratch) -> Iterator[Vector]:
        """Those of a run. Depth 0 of scratch is left to the caller."""
        for level in range(self.depth):
            yield scratch.at(1 + level, run.stop - run.start)
        for gradient in self.gradients:
            yield gradient[run]


@dataclass(frozen=True, eq=False)
class Added:
    """A sum that is ready to be put on a tape. out: the register that has it then."""

    total: Any
    ops: tuple[Op, ...]
    out: Register
    addends: Addends


def record_sum(total: Any, out: Register, first: int) -> tuple[tuple[Op, ...], Register]:
    """A sum, added by its tree, as operations, and the register that has it: that of its handle, or `out`.

    first: the first register for what lies between, of which there are `depth_of(total)`; behind them come those of the
    handles, in their order.
    """
    tape, left = Tape(()), count(first + depth_of(total))

    def record(part: Any, room: Register, between: int) -> Register:
        """The register that has a part: its own if it is a handle, else `room`."""
        if not isinstance(part, tuple):
            return Register(next(left))
        one = record(part[0], room, between)
        tape.add(one, record(part[1], Register(between), between + 1), out=room)
        return room

    found = record(total, out, first)
    return tuple(tape.ops), found


def depth_of(total: Any) -> int:
    """Rooms that a sum needs beside its own: its right half is added up while the left one waits."""
    if not isinstance(total, tuple):
        return 0
    return max(depth_of(total[0]), depth_of(total[1]) + isinstance(total[1], tuple))


def _has_arrived(total: Any) -> bool:
    """Whether any of a sum came from another host."""
    return any(isinstance(handle, Arrived) for handle in _handles(total))


def _handles(total: Any) -> Iterator[Handle]:
    if isinstance(total, tuple):
        yield from _handles(total[0])
        yield from _handles(total[1])
    else:
        yield total


class PartialSums:
    """Adds partial sums up, by the tree. Handles of sums: see distprop.runtime.memory."""

    def __init__(self, layout: SlotLayout) -> None:
        self._layout = layout
        self._memories: dict[int, Any] = {}
        self._views: dict[tuple[int, int], tuple[Vector, Tail]] = {}  # of (worker, slot)
        self._added: dict[tuple[int, int], Added] = {}  # by span: the last sum
        self.scratch = Scratch()

    def attach(self, worker: int, memory: Any) -> None:
        """Read a worker's partial sums from its memory. Kept when it dies: what it finished is still good."""
        self._memories[worker] = memory
        self._views = {key: views for key, views in self._views.items() if key[0] != worker}
        self._added.clear()

    def tail(self, total: Any) -> Tail:
        """The tail of a sum, added by the tree: a value of its own."""
        return self._tail(total) if isinstance(total, tuple) else self._tail(total).copy()

    def _tail(self, total: Any) -> Tail:
        if isinstance(total, tuple):
            return self._tail(total[0]) + self._tail(total[1])
        if isinstance(total, Slot):
            return tail_in(self._slot(total)[1])
        tail: Tail = total.tail
        return tail

    def whole(self, total: Any, span: slice, tables: Sequence[Part] = ()) -> Arrived:
        """One slice of a sum, as a value that can leave the host; of tables the parts that it has."""
        gradient, out = np.empty(span.stop - span.start, np.float32), Register(0)
        tape, added = Tape((out,)), self._add(total, span, out, 1)
        tape.ops.extend(added.ops)
        if added.out is not out:
            tape.copy(added.out, out=out)
        play(tape, (gradient, *added.addends.vectors(slice(0, gradient.size), self.scratch)))
        rows = tuple(concatenated(self.rows(total, part, at), part) for at, part in enumerate(tables))
        return Arrived(gradient, self.tail(total), rows)

    def rows(self, total: Any, part: Part, at: int) -> Iterator[Touched]:
        """What a sum has of a table, in the order of leaves. at: the part's number in its slice."""
        if isinstance(total, tuple):
            yield from self.rows(total[0], part, at)
            yield from self.rows(total[1], part, at)
        elif isinstance(total, Slot):
            yield self._layout.rows(self._memories[total.worker], total.slot)[part.table].since()
        else:
            yield total.rows[at]

    def ready(self, total: Any, span: slice, out: Register, first: int) -> Added:
        """The values of `span` of a sum, ready to be put on a tape: see `record_sum`.

        For each span with the same registers at all times. Rounds of a rhythm have one sum: it is made ready once.
        """
        added = self._added.get((span.start, span.stop))
        if added is None or added.total is not total:
            added = self._add(total, span, out, first)
            if added.addends.lasts:
                self._added[span.start, span.stop] = added
        return added

    def _add(self, total: Any, span: slice, out: Register, first: int) -> Added:
        gradients = tuple(self._gradient(handle, span) for handle in _handles(total))
        addends = Addends(gradients, depth_of(total), lasts=not _has_arrived(total))
        return Added(total, *record_sum(total, out, first), addends)

    def _gradient(self, handle: Handle, span: slice) -> Vector:
        """The values of `span` in a partial sum."""
        return self._slot(handle)[0][span] if isinstance(handle, Slot) else handle.gradient

    def _slot(self, slot: Slot) -> tuple[Vector, Tail]:
        views = self._views.get((slot.worker, slot.slot))
        if views is None:
            memory = self._memories[slot.worker]
            views = self._layout.gradient(memory, slot.slot), self._layout.room(memory, slot.slot)
            self._views[slot.worker, slot.slot] = views
        return views
