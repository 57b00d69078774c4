"""A shard's rows, leaf by leaf: a pure function of (epoch, step), whatever was read before."""

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.data.augmenting import NO_AUGMENTATION, Augmentation, Leaf
from distprop.data.features import Features
from distprop.data.order import Piece, ShardOrder
from distprop.data.part import GroupCache, Part, Rows, join_rows
from distprop.data.receipt import receipt_of
from distprop.data.shards import DataPlan
from distprop.data.targets import Targets

NOWHERE = np.empty(0, np.int64)


class Batch(NamedTuple):
    """Rows for the network: x (N, *shape) float32, y (N,) or (N, K), weights (N,) float32 or None (all 1)."""

    x: NDArray[np.float32]
    y: NDArray[Any]
    weights: NDArray[np.float32] | None
    rows: int
    receipt: int
    positions: NDArray[np.int64] = NOWHERE  # (N,) in the whole data


@dataclass(frozen=True)
class Encoding:
    """From raw values to a Batch."""

    features: Features
    targets: Targets
    weight: str | None = None
    augmentation: Augmentation = NO_AUGMENTATION

    def batch(self, rows: Rows, leaf: Leaf | None = None) -> Batch:
        """x, y and the receipt of exactly these rows; x as it is trained on, where they are a leaf's."""
        if leaf is None or not self.augmentation.steps:
            x = self.features.apply_raw(rows.columns)
        else:
            x = self.augmentation.apply(self.features.whole(rows.columns), leaf)
        y = self.targets.apply_raw(rows.columns[self.targets.column.name])
        weights = rows.columns[self.weight].astype(np.float32) if self.weight else None
        receipt = receipt_of(rows.positions, rows.columns)
        return Batch(x, y, weights, len(x), receipt, rows.positions)


class ShardReader:
    """Reads one shard. Holds decoded row groups (shared, bounded by bytes) and one window of raw rows.

    Safe to call from several threads.
    """

    def __init__(
        self,
        split: str,
        part: Part,
        plan: DataPlan,
        shard: int,
        encoding: Encoding,
        seed: int,
        window_rows: int,
        cache: GroupCache | None = None,
    ) -> None:
        self.plan, self.shard, self.seed = plan, shard, seed
        self._split, self._part, self._encoding = split, part, encoding
        self._order = ShardOrder(part.pieces(*plan.bounds(shard)), seed, shard, window_rows)
        self._cache = cache or GroupCache()
        self._lock = threading.Lock()
        self._window: tuple[tuple[int, int], Rows] | None = None

    def batch(self, epoch: int, step: int) -> Batch:
        """The leaf of `step`, counted from 0 in the epoch, augmented. Raises IndexError where the shard has run out."""
        start, stop = self.plan.leaf_bounds(self.shard, step)
        if start == stop:
            raise IndexError(f"shard {self.shard} has no leaf in step {step} of an epoch")
        with self._lock:
            rows = join_rows(list(self._between(epoch, start, stop)))
        return self._encoding.batch(rows, Leaf(self.seed, epoch * self.plan.steps_per_epoch + step, self.shard))

    def look_ahead(self, epoch: int, step: int) -> int:
        """Decode at most one row group of the window after that of `step`, as far as the window is used up.

        So a new window costs no step much. Gives the steps until there is more to do: 0 where it has decoded one, else
        those until another is due; what would not stay in memory is left alone.
        """
        size, (start, stop) = self._order.window_rows, self.plan.leaf_bounds(self.shard, step)
        index, last = start // size + 1, -(-self._order.rows // size)
        begin, end = (index - 1) * size, min(index * size, self._order.rows)
        used = min(1.0, (stop - begin) / (end - begin))
        with self._lock:
            pieces = self._order.window_pieces(*((epoch, index) if index < last else (epoch + 1, 0)))
            due = math.ceil(len(pieces) * used)
            for piece in pieces[:due]:
                if self._cache.load(self._split, self._part, piece.group):
                    return 0
        enough_until = begin + due * (end - begin) // len(pieces)
        return 1 + max(0, enough_until - stop) // self.plan.step_rows(self.shard)

    def _between(self, epoch: int, start: int, stop: int) -> Iterator[Rows]:
        size = self._order.window_rows
        for index in range(start // size, -(-stop // size)):
            window = self._read_window(epoch, index)
            yield window.take(slice(max(start - index * size, 0), min(stop - index * size, size)))

    def _read_window(self, epoch: int, index: int) -> Rows:
        if self._window is None or self._window[0] != (epoch, index):
            window = self._order.window(epoch, index)
            self._window = None  # never two windows in memory
            rows = join_rows([self._piece(piece) for piece in window.pieces])
            self._window = ((epoch, index), rows.take(window.shuffle))
        return self._window[1]

    def _piece(self, piece: Piece) -> Rows:
        return self._cache.read(self._split, self._part, piece.group).take(slice(piece.start, piece.stop))

    def evaluation_batches(self, size: int) -> Iterator[Batch]:
        """The shard's rows in stored order, at most `size` at a time."""
        held: list[Rows] = []
        for piece in self._part.pieces(*self.plan.bounds(self.shard)):
            held.append(self._piece(piece))
            while sum(len(rows.positions) for rows in held) >= size:
                rows = join_rows(held)
                yield self._encoding.batch(rows.take(slice(0, size)))
                held = [rows.take(slice(size, None))]
        rest = [rows for rows in held if len(rows.positions)]
        if rest:
            yield self._encoding.batch(join_rows(rest))
