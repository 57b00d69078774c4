"""A server's hands: reduces its slices, runs the optimizer on them, keeps two versions of weights and state."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from distprop import checkpoint
from distprop.nn.tail import ROWS, WEIGHT
from distprop.optim.transforms import AVERAGE
from distprop.protocol import effects, messages
from distprop.protocol.course import Course
from distprop.protocol.effects import Send
from distprop.protocol.plan import spread
from distprop.runtime.batch import Batch
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.memory import Published, Tail, Vector, WeightLayout
from distprop.runtime.replica import slot_layout
from distprop.runtime.slice import Slice, slice_of
from distprop.runtime.summing import PartialSums
from distprop.runtime.table import Part, Table, parts_of
from distprop.runtime.threads import Threads
from distprop.runtime.updating import Updater

NOTHING: Tail = np.empty(0)

Later = Callable[[Callable[[], Any]], Any]
"""Runs a slow job: at once, giving its answer, or in the background, handing the answer over when it is there."""


def at_once(job: Callable[[], Any]) -> Any:
    """Run the job now."""
    return job()


class Own(NamedTuple):
    """A slice that a server owns, and what makes its versions."""

    slice: Slice
    updater: Updater


class Shelf(NamedTuple):
    """The parts of tables in a slice, and what this host has of them."""

    parts: tuple[Part, ...]
    tables: tuple[Table, ...]


class Keeper:
    """Keeps the slices of one server. `weights` is the host's shared buffer; workers' slots are lent with `attach`."""

    def __init__(
        self, me: int, blueprint: Blueprint, weights: Any, folder: str, later: Later = at_once, threads: int = 1
    ) -> None:
        self.me, self._blueprint, self._folder, self._later = me, blueprint, folder, later
        self._weights = WeightLayout(blueprint.parameters).buffers(weights)
        self._average = WeightLayout(blueprint.parameters).average(weights)
        self._averages = blueprint.optimizer.average is not None
        self._course: Course | None = None
        self._partial = PartialSums(slot_layout(blueprint))
        self._slices: tuple[range, ...] = ()
        self._mine: dict[int, Own] = {}  # by the slice's number
        self._tables: dict[int, Shelf] = {}
        self._threads = Threads(threads)
        self._tail_of_round: Tail = NOTHING

    def attach(self, worker: int, slots: Any) -> None:
        """Read a worker's partial sums from its memory. Kept when it dies: what it finished is still good."""
        self._partial.attach(worker, slots)

    def perform(self, effect: Any) -> Any:
        """Do what the server asks."""
        return _PERFORM[type(effect)](self, effect)

    def pack(self, send: Send) -> Send:
        """Sums are added up, weights copied out: what leaves the host is a value of its own."""
        message = send.message
        if isinstance(message, messages.Push):
            span = self._dense(message.slice)
            tables = self._tables[message.slice].parts
            parts = tuple((node, self._partial.whole(total, span, tables)) for node, total in message.parts)
            return Send(send.to, replace(message, parts=parts))
        if isinstance(message, messages.Publish):
            return Send(send.to, replace(message, weights=self._published(message.version, message.slice)))
        return send

    def _dense(self, piece: int) -> slice:
        """The values of a slice, without those of tables."""
        arena = self._blueprint.network.arena
        span, stop = slice_of(arena.blocks, self._slices[piece]), arena.gradient_size
        return slice(min(span.start, stop), min(span.stop, stop))

    def _published(self, version: int, piece: int) -> Vector | Published:
        """A copy of the weights (n,), or where the version is evaluated by its average, of both (2, n).

        With tables, of these the rows that made the version, too.
        """
        weights = self._weights[version % 2][self._dense(piece)]
        if tables := self._tables[piece].tables:
            return Published(weights.copy(), tuple(table.made(version) for table in tables))
        if not self._shows_average(version):
            return weights.copy()
        return np.stack([weights, self._mine[piece].slice.state(version)[AVERAGE]])

    def _shows_average(self, version: int) -> bool:
        """Whether workers will read the average of `version`."""
        return self._averages and self._course is not None and self._course.evaluates(version)

    # ---- effects ----------------------------------------------------------------------------------------------------

    def _load(self, effect: effects.Load) -> messages.Opened:
        owners = spread(effect.servers, effect.pieces)
        self._slices = self._blueprint.slices(len(owners))
        self._course = effect.course
        self._mine = {piece: self._take(piece) for piece, owner in enumerate(owners) if owner == self.me}
        self._tables = {piece: self._shelf(piece) for piece in range(len(owners))}
        weights = self._weights[effect.version % 2]
        if effect.source is None:
            self._blueprint.network.init(self._blueprint.seed, weights)
        else:
            saved = checkpoint.open_checkpoint(effect.source)
            weights[:] = saved.weights()
            for own in self._mine.values():
                own.slice.restore(effect.version, saved.state(own.slice.span))
            if self._averages:
                self._average[:] = saved.kept()
        for shelf in self._tables.values():
            for table in shelf.tables:
                table.level(effect.version, state=effect.source is not None)
        return messages.Opened(effect.attempt, self.me)

    def _take(self, piece: int) -> "Own":
        """A slice, its state all zeros."""
        blueprint, arena = self._blueprint, self._blueprint.network.arena
        mine = Slice.make(arena, self._slices[piece], blueprint.optimizer, blueprint.groups, self._weights)
        return Own(mine, Updater(mine, blueprint.optimizer, arena, self._partial, self._threads))

    def _shelf(self, piece: int) -> "Shelf":
        """A slice's parts of tables: of an own slice with its state, of others' their weights."""
        if piece in self._mine:
            mine = self._mine[piece].slice
            return Shelf(mine.parts, mine.tables)
        blueprint, (even, odd) = self._blueprint, self._weights
        parts = parts_of(blueprint.network.arena, self._slices[piece], blueprint.groups)
        return Shelf(parts, tuple(Table((part.of(even), part.of(odd)), {}) for part in parts))

    def _reduce(self, effect: effects.Reduce) -> messages.Reduced:
        batch, version = self._weigh(effect.total), effect.round.version
        sums = self._mine[effect.slice].updater.reduce(effect.total, batch, version)
        return messages.Reduced(effect.attempt, effect.round, effect.slice, sums)

    def _weigh(self, total: Any) -> Batch:
        """Take the round's tail; its rows in all."""
        tail = self._tail_of_round = self._partial.tail(total)
        return Batch(tail.item(WEIGHT), tail.item(ROWS))

    def _update(self, effect: effects.Update) -> messages.Updated:
        version, mine = effect.round.version, self._mine[effect.slice]
        closely = self._course is not None and self._course.diagnoses(version)
        if effect.total is None:
            sums = effect.sums[effect.slice][:1]
            more = mine.updater.finish(effect.sums, version, effect.factor, closely)
            sums = np.concatenate([sums, more]) if closely else sums
        else:
            batch = self._weigh(effect.total)
            sums = mine.updater.in_one_pass(effect.total, batch, version, effect.factor, closely)
        if self._shows_average(version + 1):
            self._average[mine.slice.span] = mine.slice.state(version + 1)[AVERAGE]
        return messages.Updated(effect.attempt, effect.round, effect.slice, None, self._tail_of_round, sums)

    def _tally(self, effect: effects.Tally) -> messages.Tallied:
        return messages.Tallied(effect.attempt, effect.round, self._partial.tail(effect.total))

    def _place(self, effect: effects.Place) -> None:
        span, weights = self._dense(effect.slice), effect.weights
        if isinstance(weights, Published):
            for table, (ids, rows) in zip(self._tables[effect.slice].tables, weights.tables, strict=True):
                table.make(effect.version, ids, rows, {})
            weights = weights.weights
        if weights.ndim == 2:
            weights, self._average[span] = weights
        self._weights[effect.version % 2][span] = weights

    def _save(self, effect: effects.Save) -> Any:
        pieces = [self._copy(piece, own.slice, effect.version) for piece, own in self._mine.items()]
        return self._later(partial(self._write, effect, pieces))

    def _copy(self, number: int, mine: Slice, version: int) -> checkpoint.Piece:
        """A slice as it is at `version`, to be written while training goes on."""
        return checkpoint.Piece(
            number=number,
            start=mine.span.start,
            weights=self._weights[version % 2][mine.span].copy(),
            state={name: values.copy() for name, values in mine.state(version).items()},
            blocks=mine.blocks,
        )

    def _write(self, effect: effects.Save, pieces: Sequence[checkpoint.Piece]) -> messages.Saved:
        """A store that is full or down costs a checkpoint, not the training."""
        try:
            files: Any = tuple(checkpoint.write_piece(self._folder, effect.version, piece) for piece in pieces)
            return messages.Saved(effect.attempt, self.me, effect.version, files)
        except OSError as error:
            return messages.Saved(effect.attempt, self.me, effect.version, None, str(error))


_PERFORM: dict[type, Callable[[Keeper, Any], Any]] = {
    effects.Load: Keeper._load,
    effects.Reduce: Keeper._reduce,
    effects.Update: Keeper._update,
    effects.Tally: Keeper._tally,
    effects.Place: Keeper._place,
    effects.Save: Keeper._save,
}
