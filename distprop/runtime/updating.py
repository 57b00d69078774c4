"""Updates of a slice: from partial sums to the next version, in one pass, or in two with all norms in between.

The sums that servers exchange between the two are float64 (rows, blocks): squares of the mean gradient; then, for
optimizers with a rate for each layer, of the weights; then, where it is no longer the gradient, of what became of it.
What the coordinator is told are the squares of the mean gradient; and of an update that is looked at closely, behind
them those of the weights before it, and of what it has added to them. Running statistics have no part in any: all 0.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.loops.playing import play
from distprop.loops.tape import Tape
from distprop.nn.arena import Arena
from distprop.optim.groups import Group
from distprop.optim.norms import clip_scale, global_norm
from distprop.optim.optimizer import Optimizer
from distprop.optim.transforms import Moment
from distprop.runtime.batch import Batch
from distprop.runtime.memory import Vector
from distprop.runtime.slice import Run, Slice, Work
from distprop.runtime.summing import Added, Addends, PartialSums
from distprop.runtime.table_updating import Mine, TableUpdater
from distprop.runtime.threads import Threads

Sums = NDArray[np.float64]
Rows = list[list[float]]
Kind = tuple[Group, int]
"""Which runs are updated alike: those of a group; where layers have factors, of a view."""
Room = Callable[[Run], Vector]
"""Memory for u, the gradient of a run, which is used up."""

STREAMED = 1_000_000
"""Values of a slice from which on new versions are written past the caches: see docs/decisions/tapes.md."""

RUNS_A_THREAD = 2
"""Runs that are worth waking a thread for."""


class Occasion(NamedTuple):
    """What tapes are recorded for: equal occasions have equal ones."""

    added: Added
    batch: Batch
    ats: Mapping[Group, Moment]
    closely: bool


class Pass(NamedTuple):
    """What is done to the runs of a kind.

    tells: which rows of sums the tape tells, in its order; of the others all values are 0.  addends: what it reads
    beside the optimizer's registers.
    """

    tape: Tape
    tells: tuple[bool, ...]
    addends: Addends = Addends()


class Bound(threading.local):
    """What the tapes of each piece of work were last played with, for each thread: its scratch memory is among it."""

    def __init__(self) -> None:
        self.last: dict[Work, tuple[Addends, Room, tuple[Vector, ...]]] = {}


Passes = Mapping[Kind, Pass]
Record = Callable[[Group, int], Pass]
"""Records the pass of a kind."""


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
        tables = enumerate(zip(mine.parts, mine.tables, strict=True))
        self._tables = tuple(TableUpdater(Mine(at, *table), optimizer, sums) for at, table in tables)
        self._recorded: tuple[Occasion, Passes] | None = None  # of the last step
        self._bound = Bound()

    def in_one_pass(self, total: Any, batch: Batch, version: int, factor: float, closely: bool = False) -> Sums:
        """Make version + 1: sum, mean, squares and update of each value at once; gives the rows told."""
        ats, optimizer, added = self._ats(version, factor), self._optimizer, self._ready(total)

        def whole(group: Group, view: int) -> Pass:  # noqa: ARG001 - layers with factors have two passes
            at, tape, addends = ats[group], Tape(optimizer.made), Addends()
            if not group.frozen:
                addends = self._mean(tape, added, batch, group)
            if not group.unlearned:
                tape.squares(optimizer.names.u)
                optimizer.record_prepare(tape, at)
            tells = self._second(tape, group, at, closely)
            return Pass(tape, (not group.unlearned, *tells), addends)

        passes = self._passes(whole, Occasion(added, batch, ats, closely))
        dense = self._over(version, passes, 3 if closely else 1, self._scratch)
        return self._with_tables(dense, [one.in_one_pass(total, batch, ats, version, closely) for one in self._tables])

    def reduce(self, total: Any, batch: Batch, version: int) -> Sums:
        """The first of two passes: sum, mean, and all that the optimizer does before norms; gives the rows of sums."""
        ats, optimizer, names, added = self._ats(version), self._optimizer, self._optimizer.names, self._ready(total)
        rows = 1 + (optimizer.trust is not None) + bool(optimizer.before)

        def first(group: Group, view: int) -> Pass:  # noqa: ARG001 - its factor comes of this
            tape = Tape((names.u, *names.new.values()))
            if group.frozen:
                return Pass(tape, (False,) * rows)
            addends = self._mean(tape, added, batch, group)
            if not group.follows:
                tape.squares(names.u)
                if optimizer.trust is not None:
                    tape.squares(names.w)
                optimizer.record_prepare(tape, ats[group])
                if optimizer.before:
                    tape.squares(names.u)
            return Pass(tape, (not group.follows,) * rows, addends)

        dense = self._over(version, self._passes(first, Occasion(added, batch, ats, False)), rows, self._reduced)
        return self._with_tables(dense, [one.reduce(total, batch, ats, version) for one in self._tables])

    def finish(self, sums: Mapping[int, Sums], version: int, factor: float, closely: bool = False) -> Sums:
        """The second: make version + 1 from what `reduce` left, with the rows of sums of all slices.

        Gives the rows that are told behind the first, if any.
        """
        ats, gathered = self._ats(version, factor), np.concatenate([sums[piece] for piece in sorted(sums)], axis=1)
        scale = np.float32(clip_scale(global_norm(self._prepared(gathered).tolist()), self._optimizer.clip_norm))
        trusts = self._trusts(gathered, float(scale)) if self._optimizer.trust is not None else {}

        def second(group: Group, view: int) -> Pass:
            tape, u = Tape(self._optimizer.made), self._optimizer.names.u
            at = ats[group]._replace(trust=trusts[view]) if trusts else ats[group]
            if scale != 1.0 and not group.unlearned:
                tape.multiply(u, float(scale), out=u)
            return Pass(tape, self._second(tape, group, at, closely))

        dense = self._over(version, self._record(second), 2 if closely else 0, self._reduced)
        return self._with_tables(dense, [one.finish(ats, version, scale, closely) for one in self._tables])

    def _ready(self, total: Any) -> Added:
        return self._partial.ready(total, self._mine.span, self._optimizer.names.u, self._optimizer.registers)

    def _mean(self, tape: Tape, added: Added, batch: Batch, group: Group) -> Addends:
        """Put the mean gradient on a tape, into u."""
        tape.ops.extend(added.ops)
        tape.multiply(added.out, float(batch.share(group)), out=self._optimizer.names.u)
        return added.addends

    def _second(self, tape: Tape, group: Group, at: Moment, closely: bool) -> tuple[bool, ...]:
        """Put the second half of an update on a tape, and what is told of it; gives which rows those are."""
        optimizer, names = self._optimizer, self._optimizer.names
        if group.frozen:
            optimizer.record_freeze(tape)
        elif group.follows:
            optimizer.record_follow(tape, at, group.follows)
        else:
            optimizer.record_finish(tape, at)
        if not closely:
            return ()
        had, changed = group.frozen or not group.follows, not group.unlearned
        if had:
            tape.squares(names.w)
        if changed:
            tape.subtract(names.scratch, names.w, out=names.u)
            tape.squares(names.u)
        return had, changed

    def _with_tables(self, dense: Sums, tables: Sequence[Sums]) -> Sums:
        return np.concatenate([dense, *tables], axis=1) if tables and len(dense) else dense

    def _ats(self, version: int, factor: float = 1.0) -> dict[Group, Moment]:
        return {group: self._optimizer.at(version, factor, group) for group in self._groups}

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        groups = [run.group for run in self._mine.runs] + [table.group for table in self._tables]
        return tuple(dict.fromkeys(groups))

    @cached_property
    def _kinds(self) -> tuple[Kind, ...]:
        return tuple(dict.fromkeys(self._kind(run) for run in self._mine.runs))

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

    def _kind(self, run: Run) -> Kind:
        return run.group, run.view if self._optimizer.trust is not None else 0

    def _passes(self, record: Record, occasion: Occasion) -> Passes:
        """What is recorded for each kind; steps of the same occasion that follow each other share it."""
        if self._recorded is not None and self._recorded[0] == occasion:
            return self._recorded[1]
        passes = self._record(record)
        self._recorded = (occasion, passes) if occasion.added.addends.lasts else None
        return passes

    def _record(self, record: Record) -> Passes:
        return {kind: record(*kind) for kind in self._kinds}

    def _over(self, version: int, passes: Passes, rows: int, room: Room) -> Sums:
        """Play the passes of all kinds over their runs, on as many threads as are worth it.

        Gives the sums of all blocks, row by row.
        """

        def over(work: Work) -> Rows:
            tape, tells, addends = passes[self._kind(work.run)]
            if not tape.ops:
                return [_zeros(work.run) for _ in tells]
            told = play(tape, self._vectors(work, addends, room), work.run.stops, self._streamed)
            if len(told) == len(tells):
                return told
            left = iter(told)
            return [next(left) if one else _zeros(work.run) for one in tells]

        found = self._threads.map(over, self._mine.work(version), least=RUNS_A_THREAD)
        return np.array(found[0] if len(found) == 1 else _joined(found, rows), np.float64)

    def _vectors(self, work: Work, addends: Addends, room: Room) -> tuple[Vector, ...]:
        """What a tape is played with; the vectors of the step before where the sums are, as views cost their time."""
        last = self._bound.last.get(work)
        if last is not None and last[0] is addends and last[1] == room:
            return last[2]
        read = addends.vectors(work.run.span, self._partial.scratch)
        vectors = (room(work.run), *work.vectors, *read)
        if addends.lasts:
            self._bound.last[work] = addends, room, vectors
        return vectors

    def _scratch(self, run: Run) -> Vector:
        return self._partial.scratch.at(0, run.size)

    def _reduced(self, run: Run) -> Vector:
        return self._mine.gradient[run.span]


def _joined(found: Sequence[Rows], rows: int) -> Rows:
    """What was told of all runs, one behind the other."""
    return [[value for part in found for value in part[row]] for row in range(rows)]


def _zeros(run: Run) -> list[float]:
    return [0.0] * len(run.blocks)
