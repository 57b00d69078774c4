"""The norm of a gradient that lies in slices on several servers, always added in the same way."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distprop.optim.vectors import Array

TINY = 1e-30
"""Sums of squares below this may have lost squares that float32 cannot hold."""


class Span(Protocol):
    """A run of values start..stop-1: an arena's block."""

    @property
    def start(self) -> int:
        """The first value."""

    @property
    def stop(self) -> int:
        """One past the last value."""


def block_square_sums(g: Array, blocks: Sequence[Span]) -> NDArray[np.float64]:
    """The sum of squares of each block of g, float64 (len(blocks),); the blocks' borders count within g.

    The arithmetic is fixed by the job's BLAS kernel: one product of a block with itself, in the block's own type, which
    for float32 is good to a relative error of 1e-6. Where it leaves that type's range, squares are taken in float64.
    """
    with np.errstate(all="ignore"):  # a norm that is not finite is the caller's to see
        return np.array(square_sums(g, blocks))


def square_sums(g: Array, blocks: Sequence[Span]) -> list[float]:
    """`block_square_sums` as a list; for callers under an errstate of their own."""
    return [_square_sum(g[block.start : block.stop]) for block in blocks]


def global_norm(sums: Iterable[float]) -> float:
    """The Euclidean length of a whole gradient from all its blocks' sums, in block order."""
    return math.sqrt(_exact_sum(sums))


def clip_scale(norm: float, clip_norm: float | None) -> float:
    """What to multiply a gradient of length `norm` by, so that it is at most `clip_norm` long; 1.0 if it is.

    1.0 also where the norm is not finite: scaling would hide that.
    """
    if clip_norm is None or not math.isfinite(norm) or norm <= clip_norm:
        return 1.0
    return clip_norm / norm


def _square_sum(block: Array) -> float:
    total = float(np.dot(block, block))
    return total if TINY < total < math.inf else _careful_square_sum(block)


def _careful_square_sum(block: Array) -> float:
    """Squares of float32 are exact in float64; a block is short enough that `np.add.reduce` adds it well."""
    return float(np.add.reduce(np.square(block, dtype=np.float64)))


def _exact_sum(values: Iterable[float]) -> float:
    """math.fsum, which raises where infinities meet or the sum overflows; here that is inf or NaN."""
    listed = [float(value) for value in values]
    if not all(math.isfinite(value) for value in listed):
        return math.nan if any(math.isnan(value) for value in listed) else math.inf
    return math.fsum(listed)
