"""The arena: all parameters of a network, and its running statistics, as one flat vector with named views."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from distprop.errors import ShapeError
from distprop.nn.arrays import BLOCK, Array, Shape


@dataclass(frozen=True)
class Slot:
    """One named view: `name` such as "0.dense.W", the first value it covers, and its shape.

    follows: of a running statistic, the share by which it moves to what leaves have at each step; 0 for parameters.
    """

    name: str
    start: int
    shape: Shape
    follows: float = 0.0

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
    def blocks(self) -> tuple[Block, ...]:
        """All blocks in order; together they cover 0..P-1, and none crosses a view's border."""
        return tuple(block for slot in self.slots for block in _blocks(slot))

    @cached_property
    def learned_blocks(self) -> tuple[Block, ...]:
        """The blocks of parameters: all but those of running statistics."""
        return tuple(block for slot in self.slots if not slot.follows for block in _blocks(slot))

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


def lay_out(shapes: list[tuple[str, Shape]], statistics: Mapping[str, float] = MappingProxyType({})) -> Arena:
    """The arena of views with these names and shapes, one behind the other; the running statistics among them."""
    slots: list[Slot] = []
    for name, shape in shapes:
        slots.append(Slot(name, slots[-1].stop if slots else 0, shape, statistics.get(name, 0.0)))
    return Arena(tuple(slots))


def _blocks(slot: Slot) -> Iterator[Block]:
    for start in range(slot.start, slot.stop, BLOCK):
        yield Block(start, min(start + BLOCK, slot.stop))
