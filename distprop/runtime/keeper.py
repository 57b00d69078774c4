"""A server's hands: reduces its slices, runs the optimizer on them, keeps two versions of weights and state."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop import checkpoint
from distprop.nn.tail import WEIGHT
from distprop.optim.norms import block_square_sums, clip_scale, global_norm
from distprop.optim.transforms import Moment
from distprop.protocol import effects, messages
from distprop.protocol.effects import Send
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.memory import Arrived, Slot, Tail, Vector, WeightLayout, tail_in
from distprop.runtime.replica import slot_layout
from distprop.runtime.slice import Run, Slice, slice_of
from distprop.runtime.threads import Threads

Sums = NDArray[np.float64]

NOTHING: Sums = np.empty(0)
RUNS_A_THREAD = 4
"""Runs that are worth waking a thread for."""


class Scratch(threading.local):
    """Each thread's memory for runs, kept: a steady step allocates nothing large."""

    def __init__(self) -> None:
        self._kept: list[Vector] = []

    def at(self, depth: int, size: int) -> Vector:
        """Uninitialized values, (size,); others than those of any other depth."""
        while len(self._kept) <= depth:
            self._kept.append(np.empty(0, np.float32))
        if self._kept[depth].size < size:
            self._kept[depth] = np.empty(size, np.float32)
        return self._kept[depth][:size]


Later = Callable[[Callable[[], Any]], Any]
"""Runs a slow job: at once, giving its answer, or in the background, handing the answer over when it is there."""


def at_once(job: Callable[[], Any]) -> Any:
    """Run the job now."""
    return job()


class Keeper:
    """Keeps the slices of one server. `weights` is the host's shared buffer; workers' slots are lent with `attach`."""

    def __init__(
        self, me: int, blueprint: Blueprint, weights: Any, folder: str, later: Later = at_once, threads: int = 1
    ) -> None:
        self.me, self._blueprint, self._folder, self._later = me, blueprint, folder, later
        self._weights = WeightLayout(blueprint.parameters).buffers(weights)
        self._layout = slot_layout(blueprint)
        self._memories: dict[int, Any] = {}
        self._slices: tuple[range, ...] = ()
        self._mine: Slice | None = None
        self._threads = Threads(threads)
        self._scratch = Scratch()
        self._tail_of_round: Tail = NOTHING

    def attach(self, worker: int, slots: Any) -> None:
        """Read a worker's partial sums from its memory. Kept when it dies: what it finished is still good."""
        self._memories[worker] = slots

    def perform(self, effect: Any) -> Any:
        """Do what the server asks."""
        return _PERFORM[type(effect)](self, effect)

    def pack(self, send: Send) -> Send:
        """Sums are added up, weights copied out: what leaves the host is a value of its own."""
        message = send.message
        if isinstance(message, messages.Push):
            span = self._span(message.slice)
            parts = tuple((node, self._sum_of(total, span)) for node, total in message.parts)
            return Send(send.to, replace(message, parts=parts))
        if isinstance(message, messages.Publish):
            weights = self._weights[message.version % 2][self._span(message.slice)].copy()
            return Send(send.to, replace(message, weights=weights))
        return send

    # ---- partial sums -----------------------------------------------------------------------------------------------

    def _span(self, piece: int) -> slice:
        return slice_of(self._blueprint.network.arena.blocks, self._slices[piece])

    def _gradient(self, handle: Any, span: slice) -> Vector:
        """The values of `span` in a partial sum."""
        if isinstance(handle, Slot):
            return self._layout.gradient(self._memories[handle.worker], handle.slot)[span]
        gradient: Vector = handle.gradient
        return gradient

    def _tail(self, total: Any) -> Tail:
        """The tail of a sum, added by the tree."""
        if isinstance(total, tuple):
            return self._tail(total[0]) + self._tail(total[1])
        if isinstance(total, Slot):
            return tail_in(self._layout.room(self._memories[total.worker], total.slot))
        tail: Tail = total.tail
        return tail

    def _sum_of(self, total: Any, span: slice) -> Arrived:
        """One slice of a sum, as a value that can leave the host."""
        gradient = np.empty(span.stop - span.start, np.float32)
        self._add(total, span, slice(0, gradient.size), gradient)
        return Arrived(gradient, self._tail(total).copy())

    def _add(self, total: Any, span: slice, run: slice, out: Vector, depth: int = 1) -> None:
        """Write the values of `run`, counted within `span`, of a sum into out. The first sum copies nothing."""
        if not isinstance(total, tuple):
            np.copyto(out, self._gradient(total, span)[run])
            return
        left = self._values(total[0], span, run, out, depth)
        right = self._values(total[1], span, run, None, depth)
        np.add(left, right, out=out)

    def _values(self, total: Any, span: slice, run: slice, room: Vector | None, depth: int) -> Vector:
        """The values of `run` of a sum: where they lie, or added up in `room` or scratch: one a level of the tree."""
        if not isinstance(total, tuple):
            return self._gradient(total, span)[run]
        out = self._scratch.at(depth, run.stop - run.start) if room is None else room
        self._add(total, span, run, out, depth + 1)
        return out

    # ---- effects ----------------------------------------------------------------------------------------------------

    def _load(self, effect: effects.Load) -> messages.Opened:
        self._slices = self._blueprint.slices(effect.servers)
        network, weights = self._blueprint.network, self._weights[effect.version % 2]
        self._mine = Slice.make(network.arena.blocks, self._slices[self.me], self._blueprint.optimizer)
        if effect.source is None:
            network.init(self._blueprint.seed, weights)
        else:
            saved = checkpoint.open_checkpoint(effect.source)
            weights[:] = saved.weights()
            self._mine.restore(effect.version, saved.state(self._mine.span))
        return messages.Opened(effect.attempt, self.me)

    def _reduce(self, effect: effects.Reduce) -> messages.Reduced:
        mine = self._own()
        self._tail_of_round = self._tail(effect.total).copy()
        mean = partial(self._mean, effect.total, 1.0 / self._tail_of_round[WEIGHT])
        sums = self._over(mine.runs, lambda run: mean(run, mine.gradient[run.span]))
        return messages.Reduced(effect.attempt, effect.round, effect.slice, sums)

    def _mean(self, total: Any, share: float, run: Run, out: Vector) -> Sums:
        """Write the mean gradient of a run into out; its block sums of squares."""
        self._add(total, self._own().span, run.span, out)
        np.multiply(out, np.float32(share), out=out)
        return block_square_sums(out, run.blocks)

    def _update(self, effect: effects.Update) -> messages.Updated:
        if effect.total is None:
            sums, make = effect.sums[effect.slice], self._clipped(effect)
            self._over(self._own().runs, make)
        else:
            self._tail_of_round = self._tail(effect.total).copy()
            sums = self._over(self._own().runs, self._in_one_pass(effect))
        return messages.Updated(effect.attempt, effect.round, effect.slice, None, self._tail_of_round, sums)

    def _in_one_pass(self, effect: effects.Update) -> Callable[[Run], Sums]:
        """Sum, mean, squares and update of a run while it is in the cache."""
        step, share = self._step(effect), 1.0 / self._tail_of_round[WEIGHT]

        def make(run: Run) -> Sums:
            gradient = self._scratch.at(0, run.size)
            sums = self._mean(effect.total, share, run, gradient)
            step(run, gradient)
            return sums

        return make

    def _clipped(self, effect: effects.Update) -> Callable[[Run], Sums]:
        """The update of a run from the gradient that was reduced before, no longer than the job allows."""
        norm = global_norm(value for piece in sorted(effect.sums) for value in effect.sums[piece].tolist())
        scale, step = clip_scale(norm, self._blueprint.optimizer.clip_norm), self._step(effect)
        whole = self._own().gradient

        def make(run: Run) -> Sums:
            gradient = whole[run.span]
            if scale != 1.0:
                np.multiply(gradient, np.float32(scale), out=gradient)
            step(run, gradient)
            return NOTHING

        return make

    def _step(self, effect: effects.Update) -> Callable[[Run, Vector], None]:
        """The optimizer's step of a run, from this version's buffers into those of the next."""
        mine, version, optimizer = self._own(), effect.round.version, self._blueprint.optimizer
        at = Moment(version, optimizer.rate(version) * effect.factor)
        weights, made = (self._weights[parity % 2][mine.span] for parity in (version, version + 1))
        old, new = mine.state(version), mine.state(version + 1)

        def step(run: Run, gradient: Vector) -> None:
            before = {name: values[run.span] for name, values in old.items()}
            after = {name: values[run.span] for name, values in new.items()}
            optimizer.update(weights[run.span], gradient, before, made[run.span], after, at)

        return step

    def _over(self, runs: Sequence[Run], make: Callable[[Run], Sums]) -> Sums:
        """`make` of all runs, on as many threads as are worth it; the sums of all their blocks."""
        found = self._threads.map(make, runs, least=RUNS_A_THREAD)
        return np.concatenate(found) if found else NOTHING

    def _tally(self, effect: effects.Tally) -> messages.Tallied:
        return messages.Tallied(effect.attempt, effect.round, self._tail(effect.total).copy())

    def _place(self, effect: effects.Place) -> None:
        self._weights[effect.version % 2][self._span(effect.slice)] = effect.weights

    def _save(self, effect: effects.Save) -> Any:
        mine = self._own()
        piece = checkpoint.Piece(
            number=self.me,
            start=mine.span.start,
            weights=self._weights[effect.version % 2][mine.span].copy(),
            state={name: values.copy() for name, values in mine.state(effect.version).items()},
            blocks=tuple(block for run in mine.runs for block in run.shifted),
        )
        return self._later(partial(self._write, effect, piece))

    def _write(self, effect: effects.Save, piece: checkpoint.Piece) -> messages.Saved:
        """A store that is full or down costs a checkpoint, not the training."""
        try:
            files: Any = checkpoint.write_piece(self._folder, effect.version, piece)
            return messages.Saved(effect.attempt, self.me, effect.version, files)
        except OSError as error:
            return messages.Saved(effect.attempt, self.me, effect.version, None, str(error))

    def _own(self) -> Slice:
        assert self._mine is not None, "a server loads before it works"
        return self._mine


_PERFORM: dict[type, Callable[[Keeper, Any], Any]] = {
    effects.Load: Keeper._load,
    effects.Reduce: Keeper._reduce,
    effects.Update: Keeper._update,
    effects.Tally: Keeper._tally,
    effects.Place: Keeper._place,
    effects.Save: Keeper._save,
}
