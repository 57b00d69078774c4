"""Dropout."""

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array, Params
from distprop.nn.elementwise import runs
from distprop.nn.layer import Backward, Context, Layer, same_shape
from distprop.nn.settings import require_number

STEPS = 2**16  # one random word decides over four values: the rate is rounded to 1 / STEPS
VALUES_PER_WORD = 4


def dropout(rate: float) -> Layer:
    """Each value is 0 with probability `rate`, else divided by 1 - rate; nothing happens outside training.

    Source: Srivastava et al. 2014, "Dropout", JMLR. 0 <= rate < 1, taken as a multiple of 2^-16.
    Law: what is dropped is a pure function of (seed, step, shard, micro-batch, layer).
    """
    require_number("dropout.rate", rate, 0.0, 1.0)
    dropped = min(round(rate * STEPS), STEPS - 1)
    factor = STEPS / (STEPS - dropped)

    def fill(mask: Array, ctx: Context) -> None:
        for piece, (run,) in enumerate(runs(mask)):
            choose(run, ctx.random_bits(-(-run.size // VALUES_PER_WORD), piece))

    def choose(run: Array, words: NDArray[np.uint64]) -> None:
        draws = words.astype("<u8", copy=False).view("<u2")[: run.size]
        np.greater_equal(draws, dropped, out=run)
        np.multiply(run, factor, out=run)

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        if not ctx.training:
            return x, lambda dy, g: dy  # noqa: ARG005
        mask = ctx.buffer("mask", x.shape)
        for part in ctx.parts:
            fill(mask[part.rows], ctx.but(place=part.place))
        y = np.multiply(x, mask, out=x if ctx.may_overwrite_input else ctx.buffer("y", x.shape))
        return y, lambda dy, g: np.multiply(dy, mask, out=dy)  # noqa: ARG005

    return Layer("dropout", {"rate": rate}, same_shape, forward, output="input", stacks=True)
