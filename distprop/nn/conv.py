"""Convolution, as products of matrices of patches."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distprop.errors import ConfigError, ShapeError
from distprop.loops import images as loops
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw, InitSpec, find_initializer
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.settings import require_whole
from distprop.nn.sums import as_matrix, sum_rows
from distprop.nn.window import Axis, Settings, Window, as_images, image_shape, pair, plain, require_padding

NARROW = 4  # with so few channels, patches are gathered place by place instead of channel by channel


def conv2d(
    channels: int,
    kernel: Any = 3,
    stride: Any = 1,
    padding: str | int = "same",
    dilation: Any = 1,
    groups: int | str = 1,
    init: InitSpec | None = None,
    bias: bool = True,
) -> Layer:
    """Convolution over images (LeCun et al. 1989).   x (N, H, W, C) -> y (N, H', W', channels).

    W (kernel, kernel, C / groups, channels), b (channels,). kernel, stride, dilation: a number or [down, across].
    padding: same (H' = H / stride, rounded up; an odd value goes behind), valid, or a number of zeros on each side.
    groups: channels in so many groups that do not see each other, or "depthwise": each by itself. init: as dense.
    """
    settings = {
        "channels": channels,
        "kernel": plain(kernel),
        "stride": plain(stride),
        "padding": padding,
        "dilation": plain(dilation),
        "groups": groups,
        "init": init,
        "bias": bias,
    }
    return _convolution("conv2d", settings, flat=False)


def conv1d(
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    padding: str | int = "same",
    dilation: int = 1,
    groups: int | str = 1,
    init: InitSpec | None = None,
    bias: bool = True,
) -> Layer:
    """Convolution over sequences.   x (N, T, C) -> y (N, T', channels).

    W (kernel, C / groups, channels), b (channels,). Settings as of conv2d.
    """
    settings = {
        "channels": channels,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "init": init,
        "bias": bias,
    }
    return _convolution("conv1d", settings, flat=True)


def _convolution(kind: str, settings: Mapping[str, Any], flat: bool) -> Layer:
    channels, groups, bias = settings["channels"], settings["groups"], settings["bias"]
    require_whole(f"{kind}.channels", channels)
    _require_groups(f"{kind}.groups", groups, channels)
    sizes = [pair(f"{kind}.{name}", settings[name], flat) for name in ("kernel", "stride", "dilation")]
    require_padding(f"{kind}.padding", settings["padding"], sizes[0][flat:], sizes[2][flat:])
    sliding = Settings(sizes[0], sizes[1], sizes[2], settings["padding"], flat)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        image = image_shape(kind, shape, flat)
        count = _group_count(groups, image[2], channels)
        out = sliding.window(image).output
        weights = (*sliding.kernel[flat:], image[2] // count, channels)
        return (*out[flat:], channels), {"W": weights} | ({"b": (channels,)} if bias else {})

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        images = as_images(x, flat)
        window = sliding.window(images.shape[1:])
        product = _Product(window, _group_count(groups, images.shape[3], channels), channels)
        y = ctx.output((len(x), *window.output, channels))
        product.forward(images, p["W"], y, ctx)
        if bias:
            _add_bias(y, p["b"])

        def backward(dy: Array, g: Params) -> Array | None:
            product.weights(images, dy, g["W"], ctx)
            if bias:
                sum_rows(dy, g["b"], ctx)
            if not ctx.wants_input_gradient:
                return None
            return product.input(images, dy, p["W"], ctx).reshape(x.shape)

        return y.reshape(len(x), *window.output[flat:], channels), backward

    def flops(shape: Shape) -> int:
        out, parameters = shapes(shape)
        return 2 * math.prod(out[:-1]) * math.prod(parameters["W"])

    return Layer(kind, settings, shapes, forward, _start(settings["init"]), flops=flops, in_pieces=True)


class _Product:
    """The matrix products of a convolution: patches (M, K) times weights (K, channels), for each group by itself.

    M: images x places; K: taps x channels of a group.
    """

    def __init__(self, window: Window, groups: int, channels: int) -> None:
        self.window, self.groups = window, groups
        width = channels // groups
        self.columns = [slice(group * width, (group + 1) * width) for group in range(groups)]

    def forward(self, x: Array, weights: Array, y: Array, ctx: Context) -> None:
        patches, w, out = self._patches(x, ctx), as_matrix(weights), as_matrix(y)
        depth = len(w)
        for group, columns in enumerate(self.columns):
            own = patches[:, group * depth : (group + 1) * depth]
            np.matmul(own, w[:, columns], out=out[:, columns])

    def weights(self, x: Array, dy: Array, out: Array, ctx: Context) -> None:
        """Write the gradient of the weights."""
        patches, d, w = self._patches(x, ctx), as_matrix(dy), as_matrix(out)
        depth = len(w)
        for group, columns in enumerate(self.columns):
            own = patches[:, group * depth : (group + 1) * depth]
            np.matmul(own.T, d[:, columns], out=w[:, columns])

    def input(self, x: Array, dy: Array, weights: Array, ctx: Context) -> Array:
        """The gradient of x: the shares of the window's rows, each a product, added up; then those of a row's taps."""
        down, across, (rows, height, _, channels) = self.window.down, self.window.across, x.shape
        d, w, width = as_matrix(dy), as_matrix(weights), across.kernel * channels
        lines = ctx.shared("lines", (rows, height, across.out, width))  # a row's taps lie side by side
        share = ctx.shared("patches", (rows, down.out, across.out, width))
        if down.centre is None:
            lines.fill(0)
        else:
            self._row_of_input(down.centre, d, w, as_matrix(lines))
        for row, places, values in down.others:
            self._row_of_input(row, d, w, as_matrix(share))
            under = lines[:, values]
            np.add(under, share[:, places], out=under)
        return _add_taps(across, lines.reshape(*lines.shape[:3], across.kernel, channels), ctx.passing("dx", x.shape))

    def _row_of_input(self, row: int, d: Array, w: Array, out: Array) -> None:
        """Write the share of a row of the window, its taps one behind the other: out (M, taps of a row x C)."""
        taps, depth = self.window.across.kernel, len(w) // len(self.window.taps)
        at_once = taps if self.groups == 1 else 1
        starts = range(row * taps * depth, (row + 1) * taps * depth, at_once * depth)
        products = [(start, columns) for start in starts for columns in self.columns]
        for number, (start, columns) in enumerate(products):
            own, at = w[start : start + at_once * depth, columns], number * at_once * depth
            np.matmul(d[:, columns], own.T, out=out[:, at : at + at_once * depth])

    def _patches(self, x: Array, ctx: Context) -> Array:
        """The matrix (M, groups K) of what lies under the window at each place, in memory shared by all layers."""
        window, (rows, channels) = self.window, (len(x), x.shape[3])
        if len(window.taps) == 1 and not window.pads and window.output == x.shape[1:3]:
            return x.reshape(-1, channels)
        places = (rows, *window.output)
        size = math.prod(places), len(window.taps) * channels
        if self.groups == 1 and loops.compiled(x):
            return self._by_loops(x, size, places, ctx)
        padded = window.pad(x, ctx)
        if channels <= NARROW and self.groups == 1:
            patches = ctx.shared("patches", (*_kernel(window), channels, *places))
            for i, j in window.taps:
                patches[i, j] = window.tap(padded, (i, j)).transpose(3, 0, 1, 2)
            return patches.reshape(size[1], size[0]).T
        patches = ctx.shared("patches", (*places, self.groups, *_kernel(window), channels // self.groups))
        if self.groups == 1 and window.across.dilation == 1:
            _gather_runs(window, padded, patches)
        else:
            for i, j in window.taps:
                under = window.tap(padded, (i, j))
                patches[:, :, :, :, i, j] = under.reshape(patches.shape[:4] + patches.shape[6:])
        return patches.reshape(size)

    def _by_loops(self, x: Array, size: tuple[int, int], places: tuple[int, int, int], ctx: Context) -> Array:
        """The same, written by compiled loops, without a copy of x that has padding."""
        kernel, channels = _kernel(self.window), x.shape[3]
        if channels <= NARROW:
            patches = ctx.shared("patches", (*kernel, channels, *places))
            loops.planes(x, patches, *self.window.sliding)
            return patches.reshape(size[1], size[0]).T
        patches = ctx.shared("patches", (*places, *kernel, channels))
        loops.gather(x, patches, *self.window.sliding)
        return patches.reshape(size)


def _add_taps(across: Axis, shares: Array, dx: Array) -> Array:
    """Write into dx (N, H, W, C) the sum of what each tap of a row had its share in: shares (N, H, W', taps, C)."""
    if across.centre is None:
        dx.fill(0)
    else:
        np.copyto(dx, shares[:, :, :, across.centre])
    for tap, places, values in across.others:
        under = dx[:, :, values]
        np.add(under, shares[:, :, places, tap], out=under)
    return dx


def _gather_runs(window: Window, padded: Array, patches: Array) -> None:
    """What lies side by side under the window is copied as one run: NumPy joins the last two axes."""
    shape = (*patches.shape[:3], *patches.shape[5:])
    down, padded = window.down, np.ascontiguousarray(padded)
    across = padded.strides[2]
    steps = padded.strides[0], padded.strides[1] * down.stride, across * window.across.stride, across, padded.strides[3]
    for i in range(down.kernel):
        below = i * down.dilation * padded.strides[1]
        patches[:, :, :, 0, i] = np.ndarray(shape, padded.dtype, padded, below, steps)


def _start(init: InitSpec | None) -> Callable[[Params, Mapping[str, Draw]], None]:
    fill = find_initializer(init)

    def start(p: Params, draws: Mapping[str, Draw]) -> None:
        fill(p["W"], draws["W"])
        if "b" in p:
            p["b"][...] = 0.0

    return start


def _kernel(window: Window) -> tuple[int, int]:
    return window.down.kernel, window.across.kernel


def _add_bias(y: Array, bias: Array) -> None:
    """Add bias (channels,) to y (N, H, W, channels), a row of an image at a time: long runs are faster."""
    width = y.shape[2]
    lines = y.reshape(-1, width * len(bias))
    np.add(lines, np.tile(bias, width), out=lines)


def _require_groups(name: str, groups: Any, channels: int) -> None:
    if groups == "depthwise":
        return
    require_whole(name, groups)
    if channels % groups:
        raise ConfigError(f"`{name}` is {groups}", f"{channels} channels do not divide by it", f"write {name}: 1")


def _group_count(groups: int | str, channels_in: int, channels: int) -> int:
    """How many groups. Raises ShapeError where the input's channels do not divide by it."""
    count = channels_in if groups == "depthwise" else int(groups)
    if channels_in % count or channels % count:
        raise ShapeError(
            f"rows with {channels_in} channels do not fit",
            f"{channels_in} channels in and {channels} out do not divide by {count} groups",
            "choose numbers of channels that divide by groups",
        )
    return count
