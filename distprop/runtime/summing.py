"""Partial sums as a server reads them: its workers' where they lie, those of other hosts as they came."""

import threading
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from distprop.loops.playing import play
from distprop.loops.tape import Register, Tape
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
    """

    gradients: tuple[Vector, ...] = ()
    depth: int = 0

    def vectors(self, run: slice, scratch: Scratch) -> Iterator[Vector]:
        """Those of a run. Depth 0 of scratch is left to the caller."""
        for level in range(self.depth):
            yield scratch.at(1 + level, run.stop - run.start)
        for gradient in self.gradients:
            yield gradient[run]


def record_sum(tape: Tape, total: Any, out: Register, first: int, share: float | None = None) -> tuple[Handle, ...]:
    """Put a sum, added by its tree, on a tape; gives its handles.

    out: where it goes. first: the first register for what lies between, of which there are `depth_of(total)`; behind
    them come the handles'. share: what the sum is multiplied by.
    """
    handles, left = tuple(_handles(total)), count(first + depth_of(total))

    def record(part: Any, room: Register, between: int) -> Register:
        """The register that has a part: its own if it is a handle, else `room`."""
        if not isinstance(part, tuple):
            return Register(next(left))
        one = record(part[0], room, between)
        tape.add(one, record(part[1], Register(between), between + 1), out=room)
        return room

    found = record(total, out, first)
    if share is not None:
        tape.multiply(found, share, out=out)
    elif found is not out:
        tape.copy(found, out=out)
    return handles


def depth_of(total: Any) -> int:
    """Rooms that a sum needs beside its own: its right half is added up while the left one waits."""
    if not isinstance(total, tuple):
        return 0
    return max(depth_of(total[0]), depth_of(total[1]) + isinstance(total[1], tuple))


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
        self.scratch = Scratch()

    def attach(self, worker: int, memory: Any) -> None:
        """Read a worker's partial sums from its memory. Kept when it dies: what it finished is still good."""
        self._memories[worker] = memory
        self._views = {key: views for key, views in self._views.items() if key[0] != worker}

    def tail(self, total: Any) -> Tail:
        """The tail of a sum, added by the tree."""
        if isinstance(total, tuple):
            return self.tail(total[0]) + self.tail(total[1])
        if isinstance(total, Slot):
            return tail_in(self._slot(total)[1])
        tail: Tail = total.tail
        return tail

    def whole(self, total: Any, span: slice, tables: Sequence[Part] = ()) -> Arrived:
        """One slice of a sum, as a value that can leave the host; of tables the parts that it has."""
        gradient, out = np.empty(span.stop - span.start, np.float32), Register(0)
        tape = Tape((out,))
        addends = self.record(tape, total, span, out, 1, None)
        play(tape, (gradient, *addends.vectors(slice(0, gradient.size), self.scratch)))
        rows = tuple(concatenated(self.rows(total, part, at), part) for at, part in enumerate(tables))
        return Arrived(gradient, self.tail(total).copy(), rows)

    def rows(self, total: Any, part: Part, at: int) -> Iterator[Touched]:
        """What a sum has of a table, in the order of leaves. at: the part's number in its slice."""
        if isinstance(total, tuple):
            yield from self.rows(total[0], part, at)
            yield from self.rows(total[1], part, at)
        elif isinstance(total, Slot):
            yield self._layout.rows(self._memories[total.worker], total.slot)[part.table].since()
        else:
            yield total.rows[at]

    def record(self, tape: Tape, total: Any, span: slice, out: Register, first: int, share: float | None) -> Addends:
        """Put the values of `span` of a sum on a tape: see `record_sum`."""
        handles = record_sum(tape, total, out, first, share)
        return Addends(tuple(self._gradient(handle, span) for handle in handles), depth_of(total))

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
