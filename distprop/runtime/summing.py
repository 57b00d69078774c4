"""Partial sums as a server reads them: its workers' where they lie, those of other hosts as they came."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

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


class Adding:
    """Adds up one sum; any thread may do some of its runs."""

    def __init__(self, tape: Tape, gradients: tuple[Vector, ...], depth: int, scratch: Scratch) -> None:
        self._tape, self._gradients, self._depth, self._scratch = tape, gradients, depth, scratch

    def __call__(self, run: slice, out: Vector) -> None:
        """Write the values of `run` into out."""
        rooms = (self._scratch.at(1 + level, out.size) for level in range(self._depth))
        play(self._tape, (out, *rooms, *(gradient[run] for gradient in self._gradients)))


def record_sum(total: Any, share: np.float32 | None = None) -> tuple[Tape, tuple[Handle, ...], int]:
    """A sum by its tree, on a tape; its handles from left to right; how many registers it needs between.

    Register 0 is the sum; then come those between, then the handles.
    """
    handles, depth = tuple(_handles(total)), _depth(total)
    out, left = Register(0), iter(range(1 + depth, 1 + depth + len(handles)))
    tape = Tape((out,))

    def record(part: Any, room: Register, level: int) -> Register:
        """The register that has a part: its own if it is a handle, else `room`."""
        if not isinstance(part, tuple):
            return Register(next(left))
        first = record(part[0], room, level)
        tape.add(first, record(part[1], Register(level), level + 1), out=room)
        return room

    found = record(total, out, 1)
    if share is not None:
        tape.multiply(found, float(share), out=out)
    elif found is not out:
        tape.copy(found, out=out)
    return tape, handles, depth


def _handles(total: Any) -> Iterator[Handle]:
    if isinstance(total, tuple):
        yield from _handles(total[0])
        yield from _handles(total[1])
    else:
        yield total


def _depth(total: Any) -> int:
    """Rooms that a sum needs beside its own: its right half is added up while the left one waits."""
    if not isinstance(total, tuple):
        return 0
    right = _depth(total[1]) + isinstance(total[1], tuple)
    return max(_depth(total[0]), right)


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
        gradient = np.empty(span.stop - span.start, np.float32)
        self.adding(total, span)(slice(0, gradient.size), gradient)
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

    def adding(self, total: Any, span: slice, share: np.float32 | None = None) -> "Adding":
        """What adds a sum up, run by run. share: what to multiply it by."""
        tape, handles, depth = record_sum(total, share)
        return Adding(tape, tuple(self._gradient(handle, span) for handle in handles), depth, self.scratch)

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
