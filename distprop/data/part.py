"""The rows of a source that belong to one side of a split, as raw values, row group by row group."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.data.columns import Column
from distprop.data.decoding import decode
from distprop.data.order import Piece
from distprop.data.source import Source
from distprop.data.split import Side
from distprop.data.stacking import Columns, join_columns, stack

CACHE_BYTES = 256 * 2**20


class Rows(NamedTuple):
    """Some rows: their positions in the data (N,) and the raw values of each column (N,) or (N, width)."""

    positions: NDArray[np.int64]
    columns: Columns

    def take(self, which: Any) -> "Rows":
        """The rows at a slice (no copy) or at an array of places."""
        return Rows(self.positions[which], self.columns.take(which))

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return self.positions.nbytes + self.columns.nbytes


def join_rows(parts: Sequence[Rows]) -> Rows:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    positions = np.concatenate([part.positions for part in parts])
    return Rows(positions, join_columns([part.columns for part in parts]))


@dataclass(frozen=True)
class Part:
    """The rows that `side` takes of a source (all, where it is None), and the columns to read of them."""

    source: Source
    columns: tuple[Column, ...]
    side: Side | None = None

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        counts = self.side.counts if self.side else [group.rows for group in self.source.row_groups]
        return np.cumsum(np.array(counts, dtype=np.int64))

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self._ends[-1])

    def pieces(self, start: int, stop: int) -> tuple[Piece, ...]:
        """Rows start..stop of the part, as runs of what each row group has for it."""
        if start >= stop:
            return ()
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left"))
        begins = [0, *self._ends.tolist()]
        pieces = (
            Piece(i, max(start, begins[i]) - begins[i], min(stop, begins[i + 1]) - begins[i])
            for i in range(first, last + 1)
        )
        return tuple(piece for piece in pieces if piece.stop > piece.start)

    def read(self, group: int) -> Rows:
        """All rows of a row group that belong to the part, in stored order. Raises DataError for nulls."""
        return self.decode(group, self.table(group))

    def table(self, group: int) -> pa.Table:
        """All rows of a row group, as Arrow has them."""
        names = [column.name for column in self.columns]
        side = self.side.target if self.side else None
        return self.source.read(group, names if side is None or side in names else [*names, side])

    def decode(self, group: int, table: pa.Table) -> Rows:
        """The part's rows of a row group's table."""
        place = self.source.place(group)
        columns = stack(self.columns, {c.name: decode(c, table.column(c.name), place) for c in self.columns})
        first = self.source.row_groups[group].first_row
        rows = Rows(np.arange(first, first + table.num_rows), columns)
        return rows.take(np.flatnonzero(self.side.takes(rows.positions, rows.columns))) if self.side else rows


class GroupCache:
    """Decoded row groups, the latest used, up to `limit` bytes but always one. Thread-safe."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[tuple[str, int], Rows] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["GroupCache"], tuple[int]]:
        """Travels empty."""
        return GroupCache, (self._limit,)

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return self._size

    def load(self, split: str, part: Part, group: int) -> bool:
        """Decode a row group ahead of its use, if there is room for it. Whether this took work."""
        with self._lock:
            known = (split, group) in self._kept
            room = self._limit - self._size >= 2 * max((rows.nbytes for rows in self._kept.values()), default=0)
        if known or not room:
            return False
        self.read(split, part, group)
        return True

    def read(self, split: str, part: Part, group: int) -> Rows:
        """As `part.read(group)`, from memory where it is there. `split` tells parts apart."""
        with self._lock:  # one reader decodes, others that want the same row group wait for it
            rows = self._kept.pop((split, group), None)
            if rows is None:
                rows = part.read(group)
                self._size += rows.nbytes
            self._kept[split, group] = rows
            while self._size > self._limit and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1].nbytes
            return rows
