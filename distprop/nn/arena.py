"""The arena: all parameters of a network, and its running statistics, as one flat vector with named views."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from distprop.errors import ShapeError
from distprop.nn.arrays import BLOCK, Array, Shape


@dataclass(frozen=True)
class Slot:
    """One named view: `name` such as "0.dense.W", the first value it covers, and its shape.

    follows: of a running statistic, the share by which it moves to what leaves have at each step; 0 for parameters.
    table: whether it is a table (rows, k) of which a gradient has the rows that were touched only. Tables come last.
    """

    name: str
    start: int
    shape: Shape
    follows: float = 0.0
    table: bool = False

    @property
    def stop(self) -> int:
        """One past the last value."""
        return self.start + math.prod(self.shape)


@dataclass(frozen=True)
class Block:
    """Values start..stop-1 of an arena; at most BLOCK of them, all of one view."""

    start: int
    stop: int


@dataclass(frozen=True)
class Arena:
    """The layout of P parameters in one vector. Holds no numbers, so it is cheap to send."""

    slots: tuple[Slot, ...]

    @property
    def size(self) -> int:
        """How many values there are: P."""
        return self.slots[-1].stop if self.slots else 0

    @cached_property
    def gradient_size(self) -> int:
        """How many values a gradient has, without tables: the first G of the P."""
        return next((slot.start for slot in self.slots if slot.table), self.size)

    @cached_property
    def tables(self) -> tuple[Slot, ...]:
        """The views of which gradients have some rows only."""
        return tuple(slot for slot in self.slots if slot.table)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks in order; together they cover 0..P-1, and none crosses a view's border."""
        return tuple(block for slot in self.slots for block in _blocks(slot))

    @cached_property
    def learned_blocks(self) -> tuple[Block, ...]:
        """The blocks that a gradient has of parameters: all but those of running statistics, and of tables."""
        return tuple(block for slot in self.slots if not slot.follows and not slot.table for block in _blocks(slot))

    @cached_property
    def block_views(self) -> tuple[int, ...]:
        """The number of each block's view."""
        return tuple(view for view, slot in enumerate(self.slots) for _ in _blocks(slot))

    def view_blocks(self, view: int) -> slice:
        """The blocks of a view, by its number."""
        first = bisect_left(self.block_views, view)
        return slice(first, bisect_right(self.block_views, view))

    def views(self, flat: Array) -> dict[str, Array]:
        """Named windows onto flat (P,). No copies: writing a view writes flat. Raises ShapeError."""
        self.require(flat)
        return {slot.name: flat[slot.start : slot.stop].reshape(slot.shape) for slot in self.slots}

    def require(self, flat: Array) -> None:
        """Raise ShapeError unless flat is a vector of P values."""
        if flat.shape != (self.size,):
            raise ShapeError(
                f"an arena of {self.size} values was given an array of shape {flat.shape}",
                "these are the weights of another model, or a slice of this one's",
                "use weights that were made for this model's layers and input shape",
            )


def lay_out(
    shapes: Sequence[tuple[str, Shape]],
    statistics: Mapping[str, float] = MappingProxyType({}),
    tables: Collection[str] = (),
) -> Arena:
    """The arena of views with these names and shapes, one behind the other; running statistics among them, tables last.

    tables: the names of those whose gradients have some rows only.
    """
    slots: list[Slot] = []
    for name, shape in sorted(shapes, key=lambda named: named[0] in tables):  # which keeps the order of all others
        start = slots[-1].stop if slots else 0
        slots.append(Slot(name, start, shape, statistics.get(name, 0.0), name in tables))
    return Arena(tuple(slots))


def _blocks(slot: Slot) -> Iterator[Block]:
    size = BLOCK // slot.shape[-1] * slot.shape[-1] if slot.table else BLOCK  # a table's blocks have whole rows
    for start in range(slot.start, slot.stop, size):
        yield Block(start, min(start + size, slot.stop))
