"""Time steps of rows of different lengths, packed: step by step, without those that are padding."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from distprop.nn.arrays import Array
from distprop.nn.lengths import Counts

PART = 4096  # values: NumPy makes copies of up to 32 kB of each operand whose runs are shorter than the whole


def parts(rows: int, width: int) -> Iterator[slice]:
    """Rows of so many values in parts of at most PART values, or of one row."""
    step = max(1, PART // width)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


class Steps:
    """The M real time steps of N rows, one step behind the other; within a step, longer rows first.

    lengths: (N,), or None: all rows have `times` steps. backward: each row's steps from its last real one to its first.
    States, of which there is one of zeros for each row before the first step, lie likewise: (N + M, units).
    """

    def __init__(self, lengths: Counts | None, rows: int, times: int, backward: bool) -> None:
        self.rows, self.times, self.backward = rows, times, backward
        self.lengths = np.full(rows, times) if lengths is None else lengths
        self.order = np.argsort(-self.lengths, kind="stable")
        """The rows, longest first."""
        self.whole = bool((self.lengths == times).all())
        """Whether nothing is padding."""
        self.counts = [int(np.count_nonzero(self.lengths > time)) for time in range(times)]
        """How many rows have so many steps; the first counts[t] rows of `order` have a step t."""
        self.starts = np.cumsum([0, *self.counts]).tolist()
        """Where each step begins among the M."""

    @property
    def count(self) -> int:
        """M."""
        return int(self.starts[-1])

    @property
    def forth(self) -> range:
        """The steps that any row has, in order."""
        return range(int(self.lengths.max(initial=0)))

    def at(self, time: int) -> slice:
        """Where the step lies among the M."""
        return slice(self.starts[time], self.starts[time + 1])

    def after(self, time: int) -> slice:
        """Where the states after the step lie."""
        return slice(self.rows + self.starts[time], self.rows + self.starts[time + 1])

    def before(self, time: int) -> slice:
        """Where the states before the step lie, of rows that have this step."""
        start = self.rows + self.starts[time - 1] if time else 0
        return slice(start, start + self.counts[time])

    @cached_property
    def finals(self) -> Counts:
        """Where the last state of each row of `order` lies: that of zeros where it has no step."""
        places = np.arange(self.rows)
        last = self.lengths[self.order] - 1
        return np.where(last < 0, places, self.rows + np.asarray(self.starts)[np.maximum(last, 0)] + places)

    def all_before(self, states: Array, out: Array) -> Array:
        """The states before each of the M steps (M, units): a view of states, or of out (N T, units)."""
        if self.whole:
            return states[: self.count]
        for time in self.forth:
            out[self.at(time)] = states[self.before(time)]
        return out[: self.count]

    def gather(self, x: Array, out: Array) -> None:
        """Write out (M, D) <- x (N, T, D), which is contiguous unless the steps are whole."""
        if self.whole:
            self._by_time(out)[...] = self._directed(x).transpose(1, 0, 2)
            return
        flat = x.reshape(self.rows * self.times, x.shape[-1])
        for time in self.forth:
            rows, times = self._index(time)
            np.take(flat, rows * self.times + times, axis=0, out=out[self.at(time)], mode="clip")

    def scatter(self, values: Array, y: Array) -> None:
        """Write the real steps of y (N, T, D) <- values (M, D)."""
        if self.whole:
            self._directed(y).transpose(1, 0, 2)[...] = self._by_time(values)
            return
        for time in self.forth:
            y[self._index(time)] = values[self.at(time)]

    def _index(self, time: int) -> tuple[Counts, Counts]:
        rows = self.order[: self.counts[time]]
        return rows, self.lengths[rows] - 1 - time if self.backward else np.full(len(rows), time)

    def _directed(self, x: Array) -> Array:
        return x[:, ::-1] if self.backward else x

    def _by_time(self, values: Array) -> Array:
        return values.reshape(self.times, self.rows, values.shape[-1])
