"""The gradient of a table: of the rows that were touched, and of no others."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array

Ids = NDArray[np.int64]


class TableUse(NamedTuple):
    """How a layer uses a table: the layer's number, with the layers inside of others counted; and ids a row of x."""

    number: int
    places: int


class Touched(NamedTuple):
    """Rows of a table: their ids (M,), ascending in each piece's share, and a value for each (M, k)."""

    ids: Ids
    rows: Array


class RowGradients:
    """Room for the gradients of at most C rows of a table, appended in the order in which they come.

    Nothing is added up here: a leaf's rows stand behind those of the leaf before, and whoever has them all adds the
    rows of an id in that order. So no bit depends on who appended what.

    count (1,), ids (C,), rows (C, k): memory that is lent; rows are of the weights' dtype.
    """

    __slots__ = ("_count", "_ids", "_rows")

    def __init__(self, count: Ids, ids: Ids, rows: Array) -> None:
        self._count, self._ids, self._rows = count, ids, rows

    def clear(self) -> None:
        """Forget all rows."""
        self._count[0] = 0

    def append(self, ids: Ids, rows: Array) -> None:
        """Add gradients (M, k) of the rows with these ids (M,), each at most once."""
        start = int(self._count[0])
        stop = start + len(ids)
        self._ids[start:stop] = ids
        self._rows[start:stop] = rows
        self._count[0] = stop

    def since(self, start: int = 0) -> Touched:
        """What was appended behind the first `start` rows; views."""
        stop = int(self._count[0])
        return Touched(self._ids[start:stop], self._rows[start:stop])

    def __len__(self) -> int:
        return int(self._count[0])


def square_of_rows(touched: Sequence[Touched]) -> float:
    """The square of the length of some tables' gradients, added in float64. Gradients of the same row are added up."""
    rows = [summed(one).rows for one in touched]
    return float(np.add.reduce(np.array([np.vdot(one, one) for one in rows], np.float64)))


def summed(touched: Touched) -> Touched:
    """Each id once, ascending, with the sum of its rows; what is so already is given as it is.

    How the rows of an id are added depends on them and on their order alone, whatever else there is.
    """
    ids, rows = touched
    if (ids[1:] > ids[:-1]).all():
        return touched
    places = np.argsort(ids, kind="stable")
    ordered = ids[places]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    return Touched(ordered[starts], np.add.reduceat(take(rows, places), starts, axis=0))


def take(rows: Array, ids: Ids) -> Array:
    """A copy of rows[ids] (M, k), at a third of its price: ids are known to be good."""
    return np.take(rows, ids, axis=0, mode="clip")
