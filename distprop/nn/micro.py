"""A leaf in micro-batches: its rows piece by piece, so that memory follows the piece and not the leaf."""

from collections.abc import Callable

import numpy as np

from distprop.nn.arrays import Array
from distprop.nn.workspace import Workspace

Told = Callable[[int], None] | None
"""Hears from which value on a gradient is there."""


def micro_batches(rows: int, size: int | None) -> tuple[slice, ...]:
    """`rows` rows in pieces of `size`, in order; the last may be short. One piece where size is None."""
    if size is None or rows <= size:
        return (slice(None),)
    return tuple(slice(start, start + size) for start in range(0, rows, size))


class Total:
    """The sum of pieces' gradients, in their order: the first is written into out, each other one beside it and added.

    It is added from its end on, as it is written, while it is in the cache.
    """

    def __init__(self, out: Array, workspace: Workspace) -> None:
        self._out, self._workspace = out, workspace
        self._part, self._missing = out, 0
        self._tell: Told = None

    def begin(self, piece: int, tell: Told) -> tuple[Array, Told]:
        """Where this piece's gradient goes, and who is to hear of it. tell: who hears of the sum, with the last."""
        if not piece:
            return self._out, tell
        self._part = self._workspace.buffer(("piece",), self._out.shape, self._out.dtype)
        self._missing, self._tell = self._out.size, tell
        return self._part, self._written

    def end(self) -> None:
        """The piece's gradient is whole."""
        self._add(0)

    def _written(self, start: int) -> None:
        self._add(start)
        if self._tell is not None:
            self._tell(start)

    def _add(self, start: int) -> None:
        if start < self._missing:
            new = slice(start, self._missing)
            np.add(self._out[new], self._part[new], out=self._out[new])
            self._missing = start
