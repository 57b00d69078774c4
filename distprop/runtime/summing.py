"""Partial sums as a server reads them: its workers' where they lie, those of other hosts as they came."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from distprop.nn.rows import Touched
from distprop.nn.workspace import aligned
from distprop.runtime.memory import Arrived, Slot, SlotLayout, Tail, Vector, tail_in
from distprop.runtime.table import Part, concatenated


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
        self.add(total, span, slice(0, gradient.size), gradient)
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

    def mean(self, total: Any, share: np.float32, span: slice, run: slice, out: Vector) -> None:
        """Write the values of `run`, counted within `span`, of a sum times share into out."""
        if isinstance(total, tuple):
            self.add(total, span, run, out)
            np.multiply(out, share, out=out)
        else:
            np.multiply(self._gradient(total, span, run), share, out=out)

    def add(self, total: Any, span: slice, run: slice, out: Vector, depth: int = 1) -> None:
        """Write the values of `run`, counted within `span`, of a sum into out. The first sum copies nothing."""
        if not isinstance(total, tuple):
            np.copyto(out, self._gradient(total, span, run))
            return
        left = self._values(total[0], span, run, out, depth)
        right = self._values(total[1], span, run, None, depth)
        np.add(left, right, out=out)

    def _values(self, total: Any, span: slice, run: slice, room: Vector | None, depth: int) -> Vector:
        """The values of `run` of a sum: where they lie, or added up in `room` or scratch: one a level of the tree."""
        if not isinstance(total, tuple):
            return self._gradient(total, span, run)
        out = self.scratch.at(depth, run.stop - run.start) if room is None else room
        self.add(total, span, run, out, depth + 1)
        return out

    def _gradient(self, handle: Slot | Arrived, span: slice, run: slice) -> Vector:
        """The values of `run` in a partial sum."""
        if isinstance(handle, Slot):
            return self._slot(handle)[0][span.start + run.start : span.start + run.stop]
        return handle.gradient[run]

    def _slot(self, slot: Slot) -> tuple[Vector, Tail]:
        views = self._views.get((slot.worker, slot.slot))
        if views is None:
            memory = self._memories[slot.worker]
            views = self._layout.gradient(memory, slot.slot), self._layout.room(memory, slot.slot)
            self._views[slot.worker, slot.slot] = views
        return views
