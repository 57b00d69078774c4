"""How a function of single values becomes a layer: in blocks that stay in a core's cache, in place where it may."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from distprop.nn.arrays import BLOCK, Array, Params
from distprop.nn.layer import Backward, Context, Layer, same_shape

FromInput = Callable[[Array, Array, Array], None]
"""(x, y, scratch): writes y; y may be x itself."""
FromOutput = Callable[[Array, Array, Array], None]
"""(y, dy, scratch): multiplies dy by the derivative, found from y."""
WithSlope = Callable[[Array, Array, Array, Array], None]
"""(x, y, slope, scratch): writes y, which may be x itself, and the derivative."""


def runs(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The same run of at most BLOCK values of each of these contiguous arrays, run after run."""
    flats = [array.reshape(-1) for array in arrays]
    for start in range(0, flats[0].size, BLOCK):
        yield tuple(flat[start : start + BLOCK] for flat in flats)


def output_buffer(x: Array, ctx: Context) -> Array:
    """Where y goes: into x itself where nobody reads that any more."""
    return x if ctx.may_overwrite_input else ctx.buffer("y", x.shape)


def by_output(
    kind: str, settings: Mapping[str, Any], value: FromInput, times_slope: FromOutput, rectifies: bool = False
) -> Layer:
    """A layer whose derivative is known from its output: the output is all that is kept."""

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        y = output_buffer(x, ctx)
        scratch = ctx.scratch()
        for x_run, y_run in runs(x, y):
            value(x_run, y_run, scratch[: x_run.size])

        def backward(dy: Array, g: Params) -> Array:  # noqa: ARG001
            for y_run, dy_run in runs(y, dy):
                times_slope(y_run, dy_run, scratch[: y_run.size])
            return dy

        return y, backward

    return Layer(kind, settings, same_shape, forward, output="kept", rectifies=rectifies, stacks=True)


def by_slope(kind: str, settings: Mapping[str, Any], value_and_slope: WithSlope, rectifies: bool = False) -> Layer:
    """A layer whose derivative is found with its value and kept; the output is then free."""

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001
        y, slope, scratch = output_buffer(x, ctx), ctx.buffer("slope", x.shape), ctx.scratch()
        for x_run, y_run, slope_run in runs(x, y, slope):
            value_and_slope(x_run, y_run, slope_run, scratch[: x_run.size])

        def backward(dy: Array, g: Params) -> Array:  # noqa: ARG001
            return np.multiply(dy, slope, out=dy)

        return y, backward

    return Layer(kind, settings, same_shape, forward, output="free", rectifies=rectifies, stacks=True)
