"""Memory that is allocated once and lent again and again, so that a steady step allocates nothing large."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from distprop.nn.arrays import Array, Shape

Views = TypeVar("Views")

REMEMBERED = 16
"""Vectors whose views are kept."""

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


class Workspace:
    """Named buffers of uninitialized memory, for one thread of one network.

    A name's buffer is lent again at the next request, in any shape: its memory grows to the largest one.
    Whoever gets a buffer must write before reading: it holds whatever the last borrower left.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[Any, ...], Array] = {}
        self._shaped: dict[tuple[Any, ...], Array] = {}
        self._views: dict[int, tuple[Array, Any]] = {}

    def buffer(self, name: tuple[Any, ...], shape: Shape, dtype: np.dtype[Any]) -> Array:
        """A C-contiguous array of this shape and dtype, aligned to a cache line; contents arbitrary."""
        key = (name, shape, dtype)
        shaped = self._shaped.get(key)
        if shaped is None:
            shaped = self._shaped[key] = self._shape(name, shape, dtype)
        return shaped

    def views(self, flat: Array, make: Callable[[Array], Views]) -> Views:
        """`make` of flat, kept for the next time: weights and gradients lie in the same few vectors at every step."""
        known = self._views.get(id(flat))
        if known is not None and known[0] is flat:
            views: Views = known[1]
            return views
        if len(self._views) >= REMEMBERED:
            del self._views[next(iter(self._views))]
        made = make(flat)
        self._views[id(flat)] = flat, made
        return made

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(memory.nbytes for memory in self._memory.values())

    def _shape(self, name: tuple[Any, ...], shape: Shape, dtype: np.dtype[Any]) -> Array:
        size = math.prod(shape)
        memory = self._memory.get((name, dtype))
        if memory is None or memory.size < size:
            memory = self._memory[name, dtype] = aligned(size, dtype)
            self._forget(name, dtype)
        return memory[:size].reshape(shape)

    def _forget(self, name: tuple[Any, ...], dtype: np.dtype[Any]) -> None:
        # Views of the smaller memory would keep it alive beside the larger one.
        for key in [key for key in self._shaped if key[0] == name and key[2] == dtype]:
            del self._shaped[key]


def aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """An uninitialized vector (size,) whose first value lies on a cache line."""
    memory = np.empty(size * dtype.itemsize + ALIGNMENT, np.uint8)
    skip = -memory.ctypes.data % ALIGNMENT
    return memory[skip : skip + size * dtype.itemsize].view(dtype)
