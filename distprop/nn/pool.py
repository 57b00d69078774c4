"""Pooling: the largest value or the mean under a window, channel by channel."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distprop.loops import images as loops
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.window import Settings, Window, as_images, image_shape, pair, plain, require_padding

Share = Callable[[int, Array, Array], None]
"""(number, dy, out): writes what that tap gets of dy (N, H', W', C). Once for each tap, last one first."""
Back = Callable[[Array, Array], None]
"""(dy (N, H', W', C), dx (N, H, W, C)): writes dx."""
Pool = Callable[[Window, Array, Array, Context], Back]
"""(window, x (N, H, W, C), y (N, H', W', C), context): writes y, and gives the way back."""


def max_pool2d(size: Any = 2, stride: Any = None, padding: str | int = "valid") -> Layer:
    """The largest value under a window.   x (N, H, W, C) -> y (N, H', W', C). Of equal ones the first counts.

    size, stride: a number or [down, across]; stride None: as size. padding: as conv2d's; it is never the largest.
    """
    return _pool("max_pool2d", _settings(size, stride, padding), False, _largest)


def max_pool1d(size: int = 2, stride: int | None = None, padding: str | int = "valid") -> Layer:
    """The largest value under a window.   x (N, T, C) -> y (N, T', C). Settings as of max_pool2d."""
    return _pool("max_pool1d", _settings(size, stride, padding), True, _largest)


def average_pool2d(size: Any = 2, stride: Any = None, padding: str | int = "valid") -> Layer:
    """The mean under a window.   x (N, H, W, C) -> y (N, H', W', C). Padding does not count in a mean.

    size, stride: a number or [down, across]; stride None: as size. padding: as conv2d's.
    """
    return _pool("average_pool2d", _settings(size, stride, padding), False, _mean)


def average_pool1d(size: int = 2, stride: int | None = None, padding: str | int = "valid") -> Layer:
    """The mean under a window.   x (N, T, C) -> y (N, T', C). Settings as of average_pool2d."""
    return _pool("average_pool1d", _settings(size, stride, padding), True, _mean)


def _settings(size: Any, stride: Any, padding: str | int) -> dict[str, Any]:
    return {"size": plain(size), "stride": plain(stride), "padding": padding}


def _pool(kind: str, settings: Mapping[str, Any], flat: bool, pool: Pool) -> Layer:
    size = pair(f"{kind}.size", settings["size"], flat)
    stride = size if settings["stride"] is None else pair(f"{kind}.stride", settings["stride"], flat)
    require_padding(f"{kind}.padding", settings["padding"], size[flat:], (1, 1)[flat:])
    sliding = Settings(size, stride, (1, 1), settings["padding"], flat)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        image = image_shape(kind, shape, flat)
        return (*sliding.window(image).output[flat:], shape[-1]), {}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        images, shape = as_images(x, flat), x.shape
        window = sliding.window(images.shape[1:])
        y = ctx.buffer("y", (len(x), *window.output, shape[-1]))
        back = pool(window, images, y, ctx)

        def backward(dy: Array, g: Params) -> Array:  # noqa: ARG001
            dx = ctx.passing("dx", images.shape)
            back(dy.reshape(y.shape), dx)
            return dx.reshape(shape)

        return y.reshape(len(x), *window.output[flat:], shape[-1]), backward

    return Layer(kind, settings, shapes, forward, forgets=True, in_pieces=True)


def _largest(window: Window, x: Array, y: Array, ctx: Context) -> Back:
    size = window.down.kernel, window.across.kernel
    if window.tiles and loops.compiled(x) and math.prod(size) <= loops.MOST_TAPS:
        winner = ctx.buffer("winner", y.shape, np.int8)
        loops.largest(x, y, winner, size)
        return lambda dy, dx: loops.share(np.ascontiguousarray(dy), winner, dx, size)
    share = _largest_by_taps(window, x, y, ctx)
    return lambda dy, dx: _scatter(window, dy, dx, share, ctx)


def _largest_by_taps(window: Window, x: Array, y: Array, ctx: Context) -> Share:
    padded = window.pad(x, ctx, -math.inf)
    first, *others = window.taps
    beats = ctx.buffer("beats", (1 + len(others), *y.shape), np.bool_)  # this tap is larger than all before it
    under = ctx.shared("share", y.shape)  # copied, and then compared, it takes less time than compared where it lies
    np.copyto(y, window.tap(padded, first))
    for number, tap in enumerate(others, start=1):
        np.copyto(under, window.tap(padded, tap))
        if ctx.training:
            np.greater(under, y, out=beats[number])
        np.maximum(y, under, out=y)
    np.add(y, 0.0, out=y)  # of 0 and -0 either may be taken for the larger one: here it is 0

    def share(number: int, dy: Array, out: Array) -> None:
        open_ = ctx.shared("open", y.shape, np.bool_)  # no later tap was the largest
        if number == len(others):
            open_.fill(True)
        if number == 0:
            np.multiply(dy, open_, out=out)
            return
        wins = np.logical_and(beats[number], open_, out=beats[number])
        np.logical_xor(open_, wins, out=open_)
        np.multiply(dy, wins, out=out)

    return share


def _mean(window: Window, x: Array, y: Array, ctx: Context) -> Back:
    padded = window.pad(x, ctx)
    y.fill(0)
    for tap in window.taps:
        np.add(y, window.tap(padded, tap), out=y)
    part = _parts(window).astype(ctx.dtype)
    np.multiply(y, part, out=y)

    def share(number: int, dy: Array, out: Array) -> None:  # noqa: ARG001 - the same for each tap
        np.multiply(dy, part, out=out)

    return lambda dy, dx: _scatter(window, dy, dx, share, ctx)


def _parts(window: Window) -> Array:
    """1 / (values under the window that are no padding) at each place, (H', W', 1)."""
    counts = []
    for axis in (window.down, window.across):
        seen = np.zeros(axis.out)
        for tap in range(axis.kernel):
            seen[slice(*axis.inside(tap))] += 1
        counts.append(seen)
    return np.asarray(1.0 / np.outer(*counts)[..., None])


def _scatter(window: Window, dy: Array, dx: Array, share: Share, ctx: Context) -> None:
    """Write dx: each tap's share of dy where the tap was, added up where windows overlap."""
    taps, part = list(enumerate(window.taps))[::-1], ctx.shared("share", dy.shape)
    if window.tiles:
        dx[:, window.down.covered :] = 0
        dx[:, :, window.across.covered :] = 0
        for number, tap in taps:
            share(number, dy, part)
            np.copyto(window.tap(dx, tap), part)
        return
    padded = ctx.shared("padded", window.padded_shape(dx))
    padded.fill(0)
    for number, tap in taps:
        share(number, dy, part)
        under = window.tap(padded, tap)
        np.add(under, part, out=under)
    dx[...] = window.interior(padded)
