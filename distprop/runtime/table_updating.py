"""Updates of a table: of the rows that a step touched, and of no others.

An optimizer does to them what it does to any values, with the state that they had when they were last touched; its
count of steps is the job's (as torch.optim.SparseAdam). Weight decay reaches a row when it is touched.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.rows import Ids, take
from distprop.optim.groups import Group
from distprop.optim.optimizer import Optimizer
from distprop.optim.transforms import Moment
from distprop.optim.transforms import Run as Values
from distprop.runtime.batch import Batch
from distprop.runtime.summing import PartialSums
from distprop.runtime.table import NOTHING, Part, Rows, Table, added_up

Sums = NDArray[np.float64]
Ats = Mapping[Group, Moment]


class Mine(NamedTuple):
    """A part of a table that is made here. at: its number in the slice."""

    at: int
    part: Part
    table: Table


class TableUpdater:
    """Makes the versions of one part of a table; for the sums that it gives see runtime.updating."""

    def __init__(self, mine: Mine, optimizer: Optimizer, partial: PartialSums) -> None:
        self._mine, self._optimizer, self._partial = mine, optimizer, partial
        self._ids, self._values = NOTHING, self._take(NOTHING, self._none, 0)  # between the two passes

    @property
    def group(self) -> Group:
        """The group of the table's view."""
        return self._mine.part.group

    def in_one_pass(self, total: Any, batch: Batch, ats: Ats, version: int, closely: bool) -> Sums:
        """Make version + 1 of the rows that the sum touches."""
        ids, u = self._mean(total, batch)
        values = self._take(ids, u, version)
        first = self._sums(ids, [u])
        self._optimizer.prepare(values, ats[self.group])
        more = self._make(ids, values, ats, version, closely)
        return np.concatenate([first, more])

    def reduce(self, total: Any, batch: Batch, ats: Ats, version: int) -> Sums:
        """The first of two passes."""
        ids, u = self._mean(total, batch)
        self._ids, self._values = ids, self._take(ids, u, version)
        found = self._sums(ids, [u])
        if not self._optimizer.before:
            return found
        self._optimizer.prepare(self._values, ats[self.group])
        return np.concatenate([found, self._sums(ids, [u])])

    def finish(self, ats: Ats, version: int, scale: np.float32, closely: bool) -> Sums:
        """The second."""
        if scale != 1.0:
            with np.errstate(all="ignore"):
                np.multiply(self._values.u, scale, out=self._values.u)
        return self._make(self._ids, self._values, ats, version, closely)

    def _mean(self, total: Any, batch: Batch) -> tuple[Ids, Rows]:
        """The mean gradient of the rows that were touched; none, where they are frozen."""
        part = self._mine.part
        if self.group.frozen:
            return NOTHING, self._none
        ids, u = added_up(self._partial.rows(total, part, self._mine.at), part)
        with np.errstate(all="ignore"):
            np.multiply(u, batch.share(self.group), out=u)
        return ids, u

    @property
    def _none(self) -> Rows:
        return np.empty((0, self._mine.part.slot.shape[-1]), np.float32)

    def _take(self, ids: Ids, u: Rows, version: int) -> Values:
        """Copies of what belongs to some rows, each as one vector."""
        table, old = self._mine.table, version % 2
        state = {name: take(pair[old], ids).reshape(-1) for name, pair in table.state.items()}
        new = {name: np.empty_like(values) for name, values in state.items()}
        weights = take(table.weights[old], ids).reshape(-1)
        return Values(u.reshape(-1), weights, state, new, np.empty_like(weights))

    def _make(self, ids: Ids, values: Values, ats: Ats, version: int, closely: bool) -> Sums:
        """Update the rows that were taken, and put them into version + 1."""
        if len(ids):
            self._optimizer.finish(values, ats[self.group])
        width = self._mine.part.slot.shape[-1]
        weights, state = values.scratch.reshape(-1, width), {n: v.reshape(-1, width) for n, v in values.new.items()}
        self._mine.table.make(version + 1, ids, weights, state)
        if not closely:
            return self._sums(ids, [])
        before = values.w.reshape(-1, width)
        return self._sums(ids, [before, weights - before])

    def _sums(self, ids: Ids, rows: Sequence[Rows]) -> Sums:
        """The squares of each of these, block by block (len(rows), blocks)."""
        part = self._mine.part
        with np.errstate(all="ignore"):  # what is not finite is seen in the loss
            found = [part.by_block(ids, one) for one in rows]
        return np.array(found, np.float64).reshape(len(rows), len(part.blocks))
