"""Normalization of each channel over a leaf's rows, with running statistics for everything that is no training."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.loops import normalizing as loops
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.settings import require_number

LINE = 512
"""Values that are worked on side by side at most: with one place's few channels at a time NumPy is slow."""
AT_ONCE = 65_536
"""Values of a block: so many stay in a core's cache with all that belongs to them."""

Exact = NDArray[np.float64]


class Moments(NamedTuple):
    """Each channel's mean, about + rest, and variance, all (C,).

    size: how many values of x they were made of; 0 where they are not x's own.
    """

    about: Array
    rest: Exact
    variance: Exact
    size: int

    def unbiased(self) -> Exact:
        """The variance that x's values tell of values in general."""
        return self.variance * (self.size / (self.size - 1) if self.size else 1.0)


def batch_norm(momentum: float = 0.1, eps: float = 1e-5) -> Layer:
    """Each channel gets mean 0 and variance 1 over rows and places, then scale and shift.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167. x (N, ..., C) -> y of the same shape; scale, shift, mean, variance
    (C,). In training the moments are the leaf's own; mean and variance follow them, by the share `momentum` a step as
    PyTorch's do, and take their place in evaluations and predictions. A leaf with one value a channel has no moments:
    it is normalized with the running ones. eps is added to the variance.
    """
    require_number("batch_norm.momentum", momentum, 1e-12, 1.0)
    require_number("batch_norm.eps", eps, 1e-12)

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        centered = x if ctx.may_overwrite_input else ctx.buffer("centered", x.shape)
        moments = _moments(p, x, centered, ctx)
        root = 1.0 / np.sqrt(moments.variance + eps)
        factor = p["scale"] * root
        y = ctx.buffer("y", x.shape) if ctx.training else centered
        _transform(centered, factor, p["shift"] - factor * moments.rest, y)

        def backward(dy: Array, g: Params) -> Array | None:
            dy = np.ascontiguousarray(dy)  # lines of another would be copies
            total, product = _sums(dy, centered, ctx)
            product -= moments.rest * total  # with x - mean
            g["shift"][...], g["scale"][...] = total, product * root
            g["mean"][...] = len(x) * (moments.about + moments.rest)
            g["variance"][...] = len(x) * moments.unbiased()
            if not ctx.wants_input_gradient:
                return None
            share = 1.0 / moments.size if moments.size else 0.0
            slope = -share * factor * root * root * product
            _mix(dy, factor, centered, slope, -share * factor * total - slope * moments.rest, ctx)
            return dy

        return y, backward

    return Layer(
        "batch_norm",
        {"momentum": momentum, "eps": eps},
        _shapes,
        forward,
        _start,
        flops=lambda shape: 6 * int(np.prod(shape)),
        undivided=True,
        statistics={"mean": momentum, "variance": momentum},
    )


def _shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
    return shape, dict.fromkeys(("scale", "shift", "mean", "variance"), shape[-1:])


def _start(p: Params, draws: Mapping[str, Draw]) -> None:  # noqa: ARG001 - starts as plain normalization
    for name in ("scale", "variance"):
        p[name][...] = 1.0
    for name in ("shift", "mean"):
        p[name][...] = 0.0


def _moments(p: Params, x: Array, centered: Array, ctx: Context) -> Moments:
    """The moments that x is normalized with, x less `about` being in centered."""
    count = x.size // x.shape[-1]
    own = ctx.training and count > 1
    about = _mean_of_first(x) if own else p["mean"]
    if not own:
        _subtract(x, about, centered)
        return Moments(about, np.zeros(about.shape), p["variance"].astype(np.float64), 0)
    total, squares = _centered_sums(x, about, centered, ctx)
    rest = total / count
    return Moments(about, rest, np.maximum(squares / count - rest * rest, 0.0), count)


def _mean_of_first(x: Array) -> Array:
    """The mean of the first places: near enough to the mean of all to compute variances by."""
    places = x.reshape(-1, x.shape[-1])
    few = places[: max(2, AT_ONCE // (8 * x.shape[-1]))]
    mean: Array = np.mean(few, axis=0)
    return mean


# ---- passes over values (..., C), block by block, seen as lines of several places ------------------------------------


def _subtract(x: Array, about: Array, out: Array) -> None:
    lines, to, minus = _lines(x), _lines(out), _spread(about, x)
    for block in _blocks(lines):
        np.subtract(lines[block], minus, out=to[block])


def _transform(values: Array, factor: Exact, plus: Exact, out: Array) -> None:
    """Write factor values + plus into out."""
    lines, to = _lines(values), _lines(out)
    times, more = _spread(factor, out), _spread(plus, out)
    if loops.compiled(lines):
        loops.mix_channels(lines, times, None, None, more, to)
        return
    for block in _blocks(lines):
        np.multiply(lines[block], times, out=to[block])
        np.add(to[block], more, out=to[block])


def _mix(dy: Array, factor: Exact, values: Array, slope: Exact, plus: Exact, ctx: Context) -> None:
    """Make dy <- factor dy + slope values + plus."""
    lines, others = _lines(dy), _lines(values)
    first, second, third = (_spread(vector, dy) for vector in (factor, slope, plus))
    if loops.compiled(lines):
        loops.mix_channels(lines, first, others, second, third, lines)
        return
    scratch = _scratch(dy, ctx)
    for block in _blocks(lines):
        d = lines[block]
        part = np.multiply(others[block], second, out=scratch[: len(d)])
        np.multiply(d, first, out=d)
        np.add(d, part, out=d)
        np.add(d, third, out=d)


def _centered_sums(x: Array, about: Array, centered: Array, ctx: Context) -> tuple[Exact, Exact]:
    """Write x - about into centered; the sums of that and of its squares, (C,)."""
    lines, to, minus = _lines(x), _lines(centered), _spread(about, x)
    sums = _Sums(x, ctx)
    if loops.compiled(lines):
        loops.sum_channels(lines, to, minus, sums.parts, _height(lines))
        return sums.totals()
    scratch = _scratch(x, ctx)
    for number, block in enumerate(_blocks(lines)):
        d = np.subtract(lines[block], minus, out=to[block])
        sums.take(number, d, np.multiply(d, d, out=scratch[: len(d)]))
    return sums.totals()


def _sums(dy: Array, values: Array, ctx: Context) -> tuple[Exact, Exact]:
    """The sums of dy and of dy values, (C,)."""
    lines, others, sums = _lines(dy), _lines(values), _Sums(dy, ctx)
    if loops.compiled(lines):
        loops.sum_channels(lines, others, None, sums.parts, _height(lines))
        return sums.totals()
    scratch = _scratch(dy, ctx)
    for number, block in enumerate(_blocks(lines)):
        d = lines[block]
        sums.take(number, d, np.multiply(d, others[block], out=scratch[: len(d)]))
    return sums.totals()


class _Sums:
    """Two sums over places: of each block in the pass's dtype, line by line; of the blocks in float64."""

    def __init__(self, values: Array, ctx: Context) -> None:
        lines = _lines(values)
        self.channels = values.shape[-1]
        shape = 2, -(-len(lines) // _height(lines)), lines.shape[1]
        self.parts = ctx.shared("block sums", shape)
        self.exact = ctx.shared("exact sums", shape, np.float64)

    def take(self, number: int, first: Array, second: Array) -> None:
        """Add up the lines of a block."""
        for values, out in zip((first, second), self.parts[:, number], strict=True):
            np.add.reduce(values, axis=0, out=out, initial=0.0)

    def totals(self) -> tuple[Exact, Exact]:
        """Both sums, (C,)."""
        np.copyto(self.exact, self.parts)  # a sum that converts would allocate
        lines = self.exact.sum(axis=1)
        first, second = lines.reshape(2, -1, self.channels).sum(axis=1)
        return first, second


@lru_cache(256)
def _repeats(places: int, channels: int) -> int:
    """How many places make a line: the most that divide them all, with at most LINE values."""
    return max(count for count in range(1, max(1, LINE // channels) + 1) if places % count == 0)


def _lines(values: Array) -> Array:
    channels = values.shape[-1]
    places = values.size // channels
    repeats = _repeats(places, channels)
    return values.reshape(places // repeats, repeats * channels)


def _spread(vector: Array, values: Array) -> Array:
    """A vector (C,) for each place of a line."""
    return np.tile(vector.astype(values.dtype), _lines(values).shape[1] // len(vector))


def _height(lines: Array) -> int:
    """Lines of a block."""
    return max(1, AT_ONCE // int(lines.shape[1]))


def _blocks(lines: Array) -> Iterator[slice]:
    height = _height(lines)
    return (slice(start, start + height) for start in range(0, len(lines), height))


def _scratch(values: Array, ctx: Context) -> Array:
    lines = _lines(values)
    return ctx.shared("lines", (_height(lines), lines.shape[1]))
