"""Updates of a slice: from partial sums to the next version, in one pass, or in two with all norms in between.

The sums that servers exchange between the two are float64 (rows, blocks): squares of the mean gradient; then, for
optimizers with a rate for each layer, of the weights; then, where it is no longer the gradient, of what became of it.
What the coordinator is told are the squares of the mean gradient; and of an update that is looked at closely, behind
them those of the weights before it, and of what it has added to them. Running statistics have no part in any: all 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arena import Arena
from distprop.optim.groups import Group
from distprop.optim.norms import clip_scale, global_norm, square_sums
from distprop.optim.optimizer import Optimizer, Pass
from distprop.optim.transforms import Moment
from distprop.optim.transforms import Run as Values
from distprop.runtime.batch import Batch
from distprop.runtime.memory import Vector
from distprop.runtime.slice import Run, Slice, Work
from distprop.runtime.summing import Adding, PartialSums
from distprop.runtime.table_updating import Mine, TableUpdater
from distprop.runtime.threads import Threads

Sums = NDArray[np.float64]
Rows = tuple[list[float], ...]

STREAMED = 1_000_000
"""Values of a slice from which on new versions are written past the caches: see docs/decisions/tapes.md."""

RUNS_A_THREAD = 2
"""Runs that are worth waking a thread for."""


class Updater:
    """Makes the versions of one slice."""

    def __init__(
        self,
        mine: Slice,
        optimizer: Optimizer,
        arena: Arena,
        sums: PartialSums,
        threads: Threads,
    ) -> None:
        self._mine, self._optimizer, self._arena = mine, optimizer, arena
        self._partial, self._threads = sums, threads
        self._streamed = mine.span.stop - mine.span.start >= STREAMED
        self._rows = 1 + (optimizer.trust is not None) + bool(optimizer.before)
        tables = enumerate(zip(mine.parts, mine.tables, strict=True))
        self._tables = tuple(TableUpdater(Mine(at, *table), optimizer, sums) for at, table in tables)

    def in_one_pass(self, total: Any, batch: Batch, version: int, factor: float, closely: bool = False) -> Sums:
        """Make version + 1: sum, mean, squares and update of a run while it is in the cache; gives the rows told."""
        ats = self._ats(version, factor)
        halves = {group: (self._optimizer.preparing(at), self._optimizer.finishing(at)) for group, at in ats.items()}
        means = self._means(total, batch)
        scratch, streamed = self._partial.scratch, self._streamed

        def make(work: Work) -> Rows:
            run, group = work.run, work.run.group
            values = Values(scratch.at(0, work.weights.size), *work[1:])
            if group.frozen:
                return self._frozen(run, values, closely)
            means[group](run.span, values.u)
            if group.follows:
                return self._followed(run, values, ats[group], closely)
            prepare, finish = halves[group]
            with np.errstate(all="ignore"):  # what is not finite is seen in the loss
                squares = square_sums(values.u, run.blocks)
                prepare(values)
                finish(values, streamed)
                return (squares, *(_change(run, values) if closely else ()))

        dense = self._over(version, make, 3 if closely else 1)
        return self._with_tables(dense, [one.in_one_pass(total, batch, ats, version, closely) for one in self._tables])

    def reduce(self, total: Any, batch: Batch, version: int) -> Sums:
        """The first of two passes: sum, mean, and all that the optimizer does before norms; gives the rows of sums."""
        ats = self._ats(version)
        halves = {group: self._optimizer.preparing(at) for group, at in ats.items()}
        means = self._means(total, batch)
        whole = self._mine.gradient

        def make(work: Work) -> Rows:
            blocks, group, values = work.run.blocks, work.run.group, self._values(work, whole)
            if group.frozen:
                return _nothing(work.run, self._rows)
            means[group](work.run.span, values.u)
            if group.follows:
                return _nothing(work.run, self._rows)
            with np.errstate(all="ignore"):
                rows = [square_sums(values.u, blocks)]
                rows += [square_sums(work.weights, blocks)] if self._optimizer.trust is not None else []
                halves[group](values)
                rows += [square_sums(values.u, blocks)] if self._optimizer.before else []
            return tuple(rows)

        dense = self._over(version, make, self._rows)
        return self._with_tables(dense, [one.reduce(total, batch, ats, version) for one in self._tables])

    def finish(self, sums: Mapping[int, Sums], version: int, factor: float, closely: bool = False) -> Sums:
        """The second: make version + 1 from what `reduce` left, with the rows of sums of all slices.

        Gives the rows that are told behind the first, if any.
        """
        ats, gathered = self._ats(version, factor), np.concatenate([sums[piece] for piece in sorted(sums)], axis=1)
        scale = np.float32(clip_scale(global_norm(self._prepared(gathered).tolist()), self._optimizer.clip_norm))
        trusts = self._trusts(gathered, float(scale)) if self._optimizer.trust is not None else {}
        halves = {group: self._optimizer.finishing(at) for group, at in ats.items()}
        whole = self._mine.gradient

        def make(work: Work) -> Rows:
            run, values = work.run, self._values(work, whole)
            if run.group.frozen:
                return self._frozen(run, values, closely)[1:]
            if run.group.follows:
                return self._followed(run, values, ats[run.group], closely)[1:]
            half = self._trusting(ats[run.group], trusts[run.view]) if trusts else halves[run.group]
            with np.errstate(all="ignore"):
                if scale != 1.0:
                    np.multiply(values.u, scale, out=values.u)
                half(values, self._streamed)
                return _change(run, values) if closely else ()

        dense = self._over(version, make, 2 if closely else 0)
        return self._with_tables(dense, [one.finish(ats, version, scale, closely) for one in self._tables])

    def _with_tables(self, dense: Sums, tables: Sequence[Sums]) -> Sums:
        return np.concatenate([dense, *tables], axis=1) if tables and len(dense) else dense

    def _means(self, total: Any, batch: Batch) -> dict[Group, Adding]:
        """What makes the mean gradient of each group."""
        span = self._mine.span
        return {group: self._partial.adding(total, span, batch.share(group)) for group in self._groups}

    def _values(self, work: Work, whole: Vector) -> Values:
        return Values(whole[work.run.span], *work[1:])

    def _frozen(self, run: Run, values: Values, closely: bool) -> Rows:
        """The same weights again; a gradient that changes nothing is none."""
        self._optimizer.freezing()(values)
        nothing, *_ = _nothing(run, 1)
        return (nothing, square_sums(values.w, run.blocks), nothing) if closely else (nothing,)

    def _followed(self, run: Run, values: Values, at: Moment, closely: bool) -> Rows:
        """Running statistics move to the batch's, which are no gradient: nothing clips them, no norm has them."""
        self._optimizer.following(at, run.group.follows)(values)
        return _nothing(run, 3 if closely else 1)

    def _trusting(self, at: Moment, trust: float) -> Pass:
        """The second half of a layer's update that has a factor of its own."""
        return self._optimizer.finishing(replace(at, trust=trust))

    def _ats(self, version: int, factor: float = 1.0) -> dict[Group, Moment]:
        return {group: self._optimizer.at(version, factor, group) for group in self._groups}

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        groups = [run.group for run in self._mine.runs] + [table.group for table in self._tables]
        return tuple(dict.fromkeys(groups))

    def _prepared(self, gathered: Sums) -> Sums:
        """The row of what is updated with: the gradient, or what became of it."""
        row: Sums = gathered[-1 if self._optimizer.before else 0]
        return row

    def _trusts(self, gathered: Sums, scale: float) -> dict[int, float]:
        """The factor of each view that this slice has values of: 1 for those without weight decay."""
        trust = self._optimizer.trust
        assert trust is not None, "asked for where layers have factors"
        rows, found = (self._prepared(gathered), gathered[1]), {}
        for view, group in {run.view: run.group for run in self._mine.runs}.items():
            blocks = self._arena.view_blocks(view)
            u, w = (global_norm(row[blocks].tolist()) for row in rows)
            found[view] = trust(scale * u, w) if group.decay else 1.0
        return found

    def _over(self, version: int, make: Callable[[Work], Rows], rows: int) -> Sums:
        """`make` of all runs, on as many threads as are worth it; the sums of all their blocks, row by row."""
        found = self._threads.map(make, self._mine.work(version), least=RUNS_A_THREAD)
        listed = [[value for part in found for value in part[row]] for row in range(rows)]
        return np.array(listed, np.float64)


def _change(run: Run, values: Values) -> Rows:
    """Squares of the weights before an update that is done, and of what it has added to them. u is used up."""
    np.subtract(values.scratch, values.w, out=values.u)
    return square_sums(values.w, run.blocks), square_sums(values.u, run.blocks)


def _nothing(run: Run, rows: int) -> Rows:
    """So many rows of zeros, a value a block."""
    return tuple([0.0] * len(run.blocks) for _ in range(rows))
