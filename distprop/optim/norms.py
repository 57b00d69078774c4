"""The norm of a gradient that lies in slices on several servers, always added in the same way."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distprop.loops.playing import play
from distprop.loops.tape import Register, Tape
from distprop.optim.vectors import Array


class Span(Protocol):
    """A run of values start..stop-1: an arena's block."""

    @property
    def start(self) -> int:
        """The first value."""

    @property
    def stop(self) -> int:
        """One past the last value."""


def block_square_sums(g: Array, blocks: Sequence[Span]) -> NDArray[np.float64]:
    """The sum of squares of each block of g, float64 (len(blocks),); the blocks cover g (n,) from its start on.

    In float64, where squares of float32 are exact, and in a fixed order: see distprop.loops.squares.
    """
    if not blocks:
        return np.empty(0)
    tape = Tape(())
    tape.squares(Register(0))
    return np.array(play(tape, (g[: blocks[-1].stop],), tuple(block.stop for block in blocks))[0])


def global_norm(sums: Sequence[float]) -> float:
    """The Euclidean length of a whole gradient from all its blocks' sums, in block order."""
    return math.sqrt(_exact_sum(sums))


def clip_scale(norm: float, clip_norm: float | None) -> float:
    """What to multiply a gradient of length `norm` by, so that it is at most `clip_norm` long; 1.0 if it is.

    1.0 also where the norm is not finite: scaling would hide that.
    """
    if clip_norm is None or not math.isfinite(norm) or norm <= clip_norm:
        return 1.0
    return clip_norm / norm


def _exact_sum(values: Sequence[float]) -> float:
    """math.fsum, which raises where infinities meet or the sum overflows; here that is inf or NaN."""
    try:
        total = math.fsum(values)
    except (OverflowError, ValueError):
        total = math.inf
    if math.isfinite(total):
        return total
    return math.nan if any(map(math.isnan, values)) else math.inf
