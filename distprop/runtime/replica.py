"""A worker's hands: a model replica that computes leaves and adds them up into slots of shared memory."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from distprop.data.reader import Batch
from distprop.data.receipt import LIMBS, receipt_to_limbs
from distprop.errors import DataError
from distprop.nn.rows import RowGradients
from distprop.nn.timing import Clock, timed
from distprop.nn.together import Rows, Together, each
from distprop.protocol.course import EVALUATE, Course, Round
from distprop.protocol.effects import Compute, Send
from distprop.protocol.messages import Computed
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.feed import Feed
from distprop.runtime.memory import Slot, SlotLayout, Tail, Vector, WeightLayout, begin_tail, tail_in
from distprop.runtime.progress import Advance, Tell
from distprop.runtime.refusing import placed


class Order(NamedTuple):
    """What leaves are computed for, and who hears of a gradient before it is whole."""

    course: Course
    round: Round
    progress: Advance | None
    rows: tuple[RowGradients, ...] = ()  # of tables, for all leaves in their order


class Replica:
    """Computes the leaves of one worker. `weights` and `slots` are shared with the host's server.

    clock: hears how long layers take.
    """

    def __init__(self, me: int, blueprint: Blueprint, weights: Any, slots: Any, clock: Clock | None = None) -> None:
        self.me, self._blueprint = me, blueprint
        self._computer = blueprint.computer()
        if clock is not None:
            self._computer.network = timed(self._computer.network, clock)
        self._together = Together(self._computer)
        self._slots = slot_layout(blueprint)
        self._room_of = cache(lambda slot: (self._slots.gradient(slots, slot), self._slots.room(slots, slot)))
        self._rows_of = cache(lambda slot: self._slots.rows(slots, slot))
        layout = WeightLayout(blueprint.parameters)
        self._weights = layout.buffers(weights)
        self._average = layout.average(weights) if blueprint.optimizer.average is not None else None
        for buffer in self._weights:
            buffer.flags.writeable = False
        self._feed = Feed(blueprint.dataset)
        self._scratch: list[tuple[Vector, Tail]] = []  # by depth of the tree, made when first needed
        self._starts = cache(blueprint.starts)
        self._tail_size = cache(lambda split: blueprint.tail_size(self._computer.layout, split))
        self.tell: Tell | None = None  # of gradients that are not whole yet, where others wait for them

    def pack(self, send: Send) -> Send:
        """What a worker sends is in shared memory already."""
        return send

    def perform(self, effect: Compute) -> Computed:
        """Compute the leaves of a node and their sum into its slot."""
        gradient, room = self._room_of(effect.slot)
        handle = Slot(self.me, effect.slot)
        progress = None
        whole = bool(self._slots.tables)  # their rows, of any slice, are there with the first layer's gradient
        if effect.slices and self.tell and not whole and not effect.course.diagnoses(effect.round.version):
            progress = Advance(effect, handle, room, self._starts(effect.slices), self.tell)
        rows = self._rows_of(effect.slot)
        for one in rows:
            one.clear()
        self._sum(effect.leaves, Order(effect.course, effect.round, progress, rows), gradient, room, 0)
        return Computed(effect.attempt, effect.round, effect.node, handle)

    def read_ahead(self) -> None:
        """Read the rows of the next leaves; called while there is nothing else to do."""
        self._feed.read_ahead()

    def close(self) -> None:
        """Stop reading ahead."""
        self._feed.close()

    def _sum(self, leaves: Any, order: "Order", gradient: Vector, room: Tail, depth: int) -> None:
        """Left into (gradient, room), right into scratch, then left + right: one scratch a level of the tree.

        A room holds a tail as long as the round needs it: `begin_tail`.
        """
        if not isinstance(leaves, tuple):
            self._leaf(leaves, order, gradient, room)
            return
        if self._takes_together(leaves, order):
            self._train_together(leaves, order, gradient, room)
            return
        order = order._replace(progress=None)  # what is there of one leaf is not yet of the sum
        self._sum(leaves[0], order, gradient, room, depth)
        other, other_room = self._scratch_at(depth)
        self._sum(leaves[1], order, other, other_room, depth + 1)
        if order.round.kind != EVALUATE:
            np.add(gradient, other, out=gradient)
        tail = tail_in(room)
        np.add(tail, tail_in(other_room), out=tail)

    def _scratch_at(self, depth: int) -> tuple[Vector, Tail]:
        while len(self._scratch) <= depth:
            self._scratch.append((np.empty(self._slots.values, np.float32), np.empty(1 + self._slots.tail)))
        return self._scratch[depth]

    def _leaf(self, shard: int, order: "Order", gradient: Vector, room: Tail) -> None:
        course, round_ = order.course, order.round
        split = course.split if round_.kind == EVALUATE else None
        tail = begin_tail(room, self._tail_size(split))
        weights = self._weights[round_.version % 2]
        if round_.kind == EVALUATE:
            self._evaluate(shard, course.split, weights if self._average is None else self._average, tail)
        else:
            self._train(shard, order, gradient, tail)

    def _takes_together(self, leaves: Any, order: "Order") -> bool:
        course, round_ = order.course, order.round
        if round_.kind == EVALUATE or course.diagnoses(round_.version):  # which asks for every leaf's own length
            return False
        plan, step = self._blueprint.dataset.train_plan, round_.version % course.steps_per_epoch
        sizes = each(lambda shard: plan.leaf_rows(shard, step), leaves)
        return self._together.takes(sizes, self._weights[round_.version % 2])

    def _train_together(self, leaves: Any, order: "Order", gradient: Vector, room: Tail) -> None:
        tail, version = begin_tail(room, self._tail_size(None)), order.round.version
        epoch, step = divmod(version, order.course.steps_per_epoch)

        read_so_far: list[Batch] = []

        def read(shard: int) -> Rows:
            batch = self._feed.batch(shard, epoch, step)
            read_so_far.append(batch)
            tail[-LIMBS:] += receipt_to_limbs(batch.receipt)
            return Rows(batch.x, batch.y, batch.weights, shard)

        weights, rows = self._weights[version % 2], each(read, leaves)
        try:
            tail[:-LIMBS] = self._together.gradient(weights, rows, version, gradient, order.progress)
        except DataError as error:
            raise self._placed(error, weights, "train", read_so_far) from None

    def _train(self, shard: int, order: "Order", gradient: Vector, tail: Tail) -> None:
        version, course = order.round.version, order.course
        batch = self._feed.batch(shard, *divmod(version, course.steps_per_epoch))
        tail[-LIMBS:] = receipt_to_limbs(batch.receipt)
        rows, how = (batch.x, batch.y, batch.weights), (course.diagnoses(version), order.progress, order.rows)
        weights = self._weights[version % 2]
        try:
            tail[:-LIMBS] = self._computer.gradient(weights, *rows, version, shard, gradient, *how)
        except DataError as error:
            raise self._placed(error, weights, "train", [batch]) from None

    def _evaluate(self, shard: int, split: str, weights: Vector, tail: Tail) -> None:
        reader = self._feed.reader(split, shard)
        rows, (at, _) = self._computer.layout.rows(tail[:-LIMBS]), reader.plan.bounds(shard)
        for batch in reader.evaluation_batches(self._blueprint.evaluation_rows):
            own, at = rows[at : at + batch.rows], at + batch.rows
            try:
                sums = self._computer.evaluate(weights, batch.x, batch.y, batch.weights, own)
            except DataError as error:
                raise self._placed(error, weights, split, [batch]) from None
            tail[: sums.size] += sums
            tail[-LIMBS:] += receipt_to_limbs(batch.receipt)

    def _placed(self, error: DataError, weights: Vector, split: str, batches: Sequence[Batch]) -> DataError:
        """What a layer said of a row that it refuses, with the row's place."""
        return placed(error, self._blueprint.network, weights, self._blueprint.dataset, split, batches)


def slot_layout(blueprint: Blueprint) -> SlotLayout:
    """The layout of a worker's slots: room for as many partial sums as there are shards, with the longest tail."""
    layout, splits = blueprint.computer().layout, blueprint.dataset.splits
    tail = max(blueprint.tail_size(layout, split) for split in (None, *(name for name in splits if name != "train")))
    values, shards = blueprint.network.arena.gradient_size, blueprint.dataset.train_plan.shards
    return SlotLayout(values, tail, shards, blueprint.tables)
