"""Memory that a host's processes share: buffers of weights, and each worker's slots for partial sums."""

from dataclasses import dataclass
from mmap import mmap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.rows import RowGradients, Touched

Vector = NDArray[np.float32]
Tail = NDArray[np.float64]

ALIGN = 64  # bytes: a cache line


def anonymous(size: int) -> mmap:
    """Memory of this process alone. Pages cost nothing until they are written."""
    return mmap(-1, max(size, 1))


@dataclass(frozen=True)
class WeightLayout:
    """Where the weights of P parameters lie: the buffer of version v is number v modulo 2.

    A third one is for the average that evaluations read, where a job keeps one; until it is written it costs nothing.
    """

    parameters: int

    @property
    def size(self) -> int:
        """Bytes of all buffers."""
        return 3 * _room(4 * self.parameters)

    def buffers(self, memory: Any) -> tuple[Vector, Vector]:
        """Both buffers (P,) in `memory`."""
        step = _room(4 * self.parameters)
        first, second = (np.frombuffer(memory, np.float32, self.parameters, at * step) for at in range(2))
        return first, second

    def average(self, memory: Any) -> Vector:
        """The averaged weights (P,) in `memory`, of the last version that was to be evaluated."""
        return np.frombuffer(memory, np.float32, self.parameters, 2 * _room(4 * self.parameters))


@dataclass(frozen=True)
class SlotLayout:
    """Where a worker's partial sums lie: in each slot a gradient (G,) and room for a tail of at most T values.

    tables: of each table the rows that a step touches at most, and their width: so many fit behind the tail.
    """

    values: int
    tail: int
    slots: int
    tables: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all slots; a worker with few subtrees writes the first few only."""
        return self.slots * self._step

    @property
    def _step(self) -> int:
        return self._tables_start + sum(_rows_room(*table) for table in self.tables)

    @property
    def _tables_start(self) -> int:
        return _room(4 * self.values) + _room(8 * (1 + self.tail))

    def gradient(self, memory: Any, slot: int) -> Vector:
        """The gradient in `slot`, (G,)."""
        return np.frombuffer(memory, np.float32, self.values, slot * self._step)

    def room(self, memory: Any, slot: int) -> Tail:
        """The room for a tail in `slot`, (1 + T,): see `begin_tail` and `tail_in`."""
        return np.frombuffer(memory, np.float64, 1 + self.tail, slot * self._step + _room(4 * self.values))

    def rows(self, memory: Any, slot: int) -> tuple[RowGradients, ...]:
        """The gradients of tables in `slot`."""
        start, found = slot * self._step + self._tables_start, []
        for capacity, width in self.tables:
            found.append(_rows_at(memory, start, capacity, width))
            start += _rows_room(capacity, width)
        return tuple(found)


def begin_tail(room: Tail, size: int) -> Tail:
    """A tail of zeros (size,) in its room, which from now on tells how long it is: that depends on the round."""
    room[0] = size
    tail = room[1 : 1 + size]
    tail.fill(0.0)
    return tail


def tail_in(room: Tail) -> Tail:
    """The tail in a room, as long as it was begun."""
    return room[1 : 1 + int(room.item(0))]


def _room(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _rows_room(capacity: int, width: int) -> int:
    return _room(8 * (1 + capacity)) + _room(4 * capacity * width)


def _rows_at(memory: Any, start: int, capacity: int, width: int) -> RowGradients:
    count = np.frombuffer(memory, np.int64, 1, start)
    ids = np.frombuffer(memory, np.int64, capacity, start + 8)
    rows = np.frombuffer(memory, np.float32, capacity * width, start + _room(8 * (1 + capacity)))
    return RowGradients(count, ids, rows.reshape(capacity, width))


@dataclass(frozen=True)
class Slot:
    """A handle: the partial sum in a slot of a worker on this host."""

    worker: int
    slot: int


@dataclass(frozen=True, eq=False)
class Arrived:
    """A handle: a partial sum of one slice that came from another host."""

    gradient: Vector
    tail: Tail
    rows: tuple[Touched, ...] = ()  # of the slice's parts of tables


class Published(NamedTuple):
    """The weights of a slice (n,) and the rows of its tables that were made for it."""

    weights: Vector
    tables: tuple[Touched, ...]
