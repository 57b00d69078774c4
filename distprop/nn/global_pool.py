"""Pools over all places of a row at once."""

import math

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.layer import Backward, Context, Layer, Shapes
from distprop.nn.lengths import Counts
from distprop.nn.mask import shares_of_time


def global_average_pool() -> Layer:
    """The mean of each channel.   x (N, H, W, C) or (N, T, C) -> y (N, C). Time steps that are padding do not count."""

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        places, lengths = _places(x), ctx.lengths.values
        count, shape, y = places.shape[1], x.shape, ctx.buffer("y", (len(x), x.shape[-1]))
        if lengths is None:
            np.mean(places, axis=1, out=y)
        else:
            shares = shares_of_time(lengths, count, ctx.buffer("shares", (len(x), count)))
            np.matmul(shares[:, None], places, out=y[:, None])

        def backward(dy: Array, g: Params) -> Array:  # noqa: ARG001
            dx = ctx.passing("dx", shape)
            if lengths is None:
                _places(dx)[...] = np.divide(dy, count, out=dy)[:, None]
            else:
                np.copyto(_places(dx), dy[:, None])  # a product of two that are stretched would take a buffer
                np.multiply(_places(dx), shares[:, :, None], out=_places(dx))
            return dx

        return y, backward

    return Layer("global_average_pool", {}, _channels("global_average_pool"), forward, forgets=True)


def global_max_pool() -> Layer:
    """The largest value of each channel.   x (N, H, W, C) or (N, T, C) -> y (N, C).

    Time steps that are padding do not count; a row of nothing else gives 0. Of equal values the first has the gradient.
    """

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        lines, shape = _lines(_places(x), ctx.lengths.values, ctx), x.shape
        y = np.max(lines, axis=2, out=ctx.buffer("y", (len(x), shape[-1])))
        at = np.argmax(lines, axis=2, out=ctx.buffer("at", y.shape, np.intp))
        nothing = np.isneginf(y, out=ctx.buffer("nothing", y.shape, np.bool_))
        np.copyto(y, 0, where=nothing)

        def backward(dy: Array, g: Params) -> Array:  # noqa: ARG001
            dx = ctx.passing("dx", shape)
            dx.fill(0)
            np.copyto(dy, 0, where=nothing)
            np.put_along_axis(_places(dx), at[:, None], dy[:, None], axis=1)
            return dx

        return y, backward

    return Layer("global_max_pool", {}, _channels("global_max_pool"), forward, forgets=True)


def _lines(places: Array, lengths: Counts | None, ctx: Context) -> Array:
    """Places (N, M, C) channel by channel, (N, C, M), with padding at the end of rows as small as can be."""
    rows, count, channels = places.shape
    out = ctx.shared("lines", (rows, channels, count))
    np.copyto(out, places.transpose(0, 2, 1))
    if lengths is not None:
        np.copyto(out, -np.inf, where=(np.arange(count) >= lengths[:, None])[:, None])
    return out


def _places(x: Array) -> Array:
    """X as (N, places, channels); a view."""
    return x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])


def _channels(kind: str) -> Shapes:
    """The shapes of a layer that leaves a value for each channel."""

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        if len(shape) < 2:
            raise ShapeError(
                f"rows of shape {shape} do not fit",
                f"{kind} takes rows of shape (H, W, C) or (T, C), channels last",
                "leave it out",
            )
        return shape[-1:], {}

    return shapes
