"""The optimizer: a chain of transforms with a schedule, and what is done around it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from distprop.loops.playing import play
from distprop.loops.tape import Register, Tape
from distprop.optim.groups import PLAIN, Group
from distprop.optim.schedules import Plateau, Schedule
from distprop.optim.transforms import ACCUMULATED, AVERAGE, Moment, Names, Run, State, Transform
from distprop.optim.vectors import RUN, Array

Chain = tuple[Transform, ...]
Trust = Callable[[float, float], float]
"""A layer's factor, from the norms of its u (as `prepare` leaves it) and of its weights."""


@dataclass(frozen=True)
class Optimizer:
    """Turns a version of weights and state into the next one. Holds no numbers of its own.

    An update has two halves: `prepare`, then `finish`. Where `exchanges`, norms of the whole gradient, or of whole
    layers, are needed between them: whoever has them scales u by `clip_norm` and puts `trust` into the moment.

    before, transforms: the chains of the halves.  clip_norm: the longest gradient, all parameters together.
    trust: the factor of a layer, where it has one.  accumulate: steps whose gradients make one update.
    average: the decay of the weights' moving average, where one is kept.  plateau: what lowers the rate.
    """

    transforms: Chain
    schedule: Schedule
    clip_norm: float | None = None
    before: Chain = ()
    trust: Trust | None = None
    accumulate: int = 1
    average: float | None = None
    plateau: Plateau | None = None

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the state's vectors, each as long as the weights; all start at 0."""
        names = tuple(name for transform in (*self.before, *self.transforms) for name in transform.state)
        return names if self.average is None else (*names, AVERAGE)

    @property
    def exchanges(self) -> bool:
        """Whether norms are needed between the halves of an update."""
        return self.clip_norm is not None or self.trust is not None

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, without the factors of verdicts and groups."""
        return self.schedule(step)

    def at(self, version: int, factor: float = 1.0, group: Group = PLAIN) -> Moment:
        """The moment of the update that makes version + 1; equal moments, equal tapes. factor: of the rate."""
        rate = self.schedule(version) * factor * group.rate
        if self.accumulate == 1:
            return Moment(version if self._counts else 0, rate, group.decay)
        step, rest = divmod(version, self.accumulate)
        return Moment(step if self._counts else 0, rate, group.decay, holds=rest != self.accumulate - 1)

    @cached_property
    def _counts(self) -> bool:
        """Whether updates depend on how many there were."""
        return self.average is not None or any(one.counts for one in (*self.before, *self.transforms))

    def update(self, w: Array, g: Array, old: State, w_out: Array, new: State, at: Moment) -> None:
        """Write the next version of n weights into w_out and of their state into new.

        w, g, w_out and each of old and new: contiguous (n,), of one dtype. w and old are only read; g (the mean
        gradient) is used up. w_out and new share no memory with the rest. Pure, and elementwise: a vector can be
        updated in slices, in any order and by several threads, with the same bits.
        """
        for start in range(0, w.size, RUN):
            part = slice(start, start + RUN)
            before, after = ({name: values[part] for name, values in state.items()} for state in (old, new))
            run = Run(g[part], w[part], before, after, w_out[part])
            self.prepare(run, at)
            self.finish(run, at)

    def prepare(self, run: Run, at: Moment) -> None:
        """The first half of the update of a run: all that is done before norms are taken of u."""
        tape = Tape((self.names.u, *self.names.new.values()))
        self.record_prepare(tape, at)
        self._play(tape, run)

    def finish(self, run: Run, at: Moment) -> None:
        """The other half: from u to the next weights, in `run.scratch`, and to what is left of the next state."""
        tape = Tape(self.made)
        self.record_finish(tape, at)
        self._play(tape, run)

    # ---- the same on tapes of others ---------------------------------------------------------------------------------

    @cached_property
    def names(self) -> Names:
        """The registers of u, of the weights and the next ones, then of each state the old and the new."""
        old = {name: Register(3 + 2 * at) for at, name in enumerate(self.state_names)}
        new = {name: Register(4 + 2 * at) for at, name in enumerate(self.state_names)}
        return Names(Register(0), Register(1), old, new, Register(2))

    @cached_property
    def registers(self) -> int:
        """How many those are; others may be numbered from here on."""
        return 3 + 2 * len(self.state_names)

    @cached_property
    def made(self) -> tuple[Register, ...]:
        """Those of the next version."""
        return (self.names.scratch, *self.names.new.values())

    def record_prepare(self, tape: Tape, at: Moment) -> None:
        """Put `prepare` on a tape."""
        for transform in self.before[:1] if at.holds else self.before:
            transform.record(tape, self.names, at)

    def record_finish(self, tape: Tape, at: Moment) -> None:
        """Put `finish` on a tape."""
        if at.holds:
            self._hold(tape)
        else:
            for transform in self.transforms:
                transform.record(tape, self.names, at)
            tape.subtract(self.names.w, self.names.u, out=self.names.scratch)
        self._record_average(tape, at)

    def record_freeze(self, tape: Tape) -> None:
        """Instead of an update: the same weights again, which are their own average. Other state stays 0."""
        tape.copy(self.names.w, out=self.names.scratch)
        if self.average is not None:
            tape.copy(self.names.w, out=self.names.new[AVERAGE])

    def record_follow(self, tape: Tape, at: Moment, share: float) -> None:
        """Instead of an update, of running statistics: w <- w + share (u - w), u being the batch's.

        Whatever the rate, and also where weights hold. Where weights are averaged, these are, too. Other state stays 0.
        """
        names = self.names
        tape.multiply(names.w, 1.0 - share, out=names.scratch)
        tape.multiply(names.u, share, out=names.u)
        tape.add(names.scratch, names.u, out=names.scratch)
        self._record_average(tape, at)

    def _hold(self, tape: Tape) -> None:
        tape.copy(self.names.w, out=self.names.scratch)
        for name, old in self.names.old.items():
            if name not in (ACCUMULATED, AVERAGE):
                tape.copy(old, out=self.names.new[name])

    def _record_average(self, tape: Tape, at: Moment) -> None:
        if self.average is not None:
            _average(tape, self.names, self.average, at)

    def _play(self, tape: Tape, run: Run) -> None:
        if tape.ops:
            state = (pair for name in self.state_names for pair in (run.old[name], run.new[name]))
            play(tape, (run.u, run.w, run.scratch, *state))


def _average(tape: Tape, run: Names, decay: float, at: Moment) -> None:
    """Make a the mean of the weights after each change, those of k changes ago weighted by decay^k. u is used up.

    That is the moving average a <- decay a + (1 - decay) w with the correction of Kingma & Ba 2015, section 3: the
    initial weights have no part in it. Until the first change they are the average.
    """
    old, new = run.old[AVERAGE] if at.step else run.w, run.new[AVERAGE]
    if at.holds:
        tape.copy(old, out=new)
        return
    share = (1.0 - decay) / (1.0 - decay ** (at.step + 1))
    tape.multiply(old, 1.0 - share, out=new)
    tape.multiply(run.scratch, share, out=run.u)
    tape.add(new, run.u, out=new)


def finite_ratio(over: float, under: float) -> float:
    """Give over / under; 1.0 where one of them is 0 or not finite: a layer without a direction, or without weights."""
    usable = 0.0 < over < math.inf and 0.0 < under < math.inf
    return over / under if usable else 1.0
