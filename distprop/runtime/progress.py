"""Tells of a gradient while it is being computed, so that its last slices travel before its first ones are there."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from distprop.data.receipt import LIMBS
from distprop.nn.tail import Tail
from distprop.protocol.effects import Compute
from distprop.protocol.messages import Early
from distprop.runtime.memory import Slot, tail_in

Tell = Callable[[Early], None]


class Advance:
    """Of one gradient in a worker's slot. `starts`: the first value of each slice, ascending."""

    def __init__(self, effect: Compute, handle: Slot, room: Tail, starts: Sequence[int], tell: Tell) -> None:
        self._effect, self._handle, self._room = effect, handle, room
        self._starts, self._tell = starts, tell
        self._first = len(starts)

    def measured(self, tail: Tail) -> None:
        """The tail goes with whatever is pushed of the gradient: it is in its place before."""
        tail_in(self._room)[:-LIMBS] = tail

    def written(self, start: int) -> None:
        """Tell of the slices that are there, now that values from `start` on are; of the whole gradient others tell."""
        first = bisect_left(self._starts, start)
        if 0 < first < self._first:
            self._first = first
            made = self._effect
            self._tell(Early(made.attempt, made.round, self._handle.worker, made.node, self._handle, first))
