"""Normalization within a row: of its features, or of groups of its channels. No row sees another."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.settings import require_number, require_whole
from distprop.nn.sums import sum_rows

OVER = (1, 3)  # the axes of grouped values that are normalized together
Grouped = Callable[[Shape], Shape]
"""The shape (N, ...) of an array -> four axes (A, B, G, D): B x D values are normalized together."""


def layer_norm(eps: float = 1e-5) -> Layer:
    """Each row's last axis gets mean 0 and variance 1 (Ba et al. 2016, arXiv:1607.06450), then scale and shift.

    x (N, ..., C) -> y of the same shape;  scale (C,), shift (C,). eps is added to the variance.
    """
    require_number("layer_norm.eps", eps, 1e-12)
    return _normalization("layer_norm", {"eps": eps}, _last_axis, centered=True)


def rms_norm(eps: float = 1e-6) -> Layer:
    """Each row's last axis is divided by its root mean square (Zhang & Sennrich 2019, arXiv:1910.07467), then scaled.

    x (N, ..., C) -> y of the same shape;  scale (C,). eps is added to the mean square.
    """
    require_number("rms_norm.eps", eps, 1e-12)
    return _normalization("rms_norm", {"eps": eps}, _last_axis, centered=False)


def group_norm(groups: int, eps: float = 1e-5) -> Layer:
    """Each group of a row's channels, over all places, gets mean 0 and variance 1, then scale and shift by channel.

    Source: Wu & He 2018, arXiv:1803.08494. x (N, ..., C) -> y of the same shape;  scale (C,), shift (C,).
    """
    require_whole("group_norm.groups", groups)
    require_number("group_norm.eps", eps, 1e-12)

    def grouped(shape: Shape) -> Shape:
        places = int(np.prod(shape[1:-1]))
        return shape[0], places, groups, shape[-1] // groups

    layer = _normalization("group_norm", {"groups": groups, "eps": eps}, grouped, centered=True)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        if shape[-1] % groups:
            raise ShapeError(
                f"rows of shape {shape} do not fit",
                f"their {shape[-1]} channels do not divide by {groups} groups",
                "choose a number of groups that divides them",
            )
        return layer.shapes(shape)

    return layer._replace(shapes=shapes)


def _last_axis(shape: Shape) -> Shape:
    return int(np.prod(shape[:-1])), 1, 1, shape[-1]


def _normalization(kind: str, settings: Mapping[str, Any], grouped: Grouped, centered: bool) -> Layer:
    eps = settings["eps"]

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        return shape, dict.fromkeys(("scale", "shift") if centered else ("scale",), shape[-1:])

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        normal = x if ctx.may_overwrite_input else ctx.buffer("normal", x.shape)
        inverse = _normalize(x, normal, grouped(x.shape), (eps, centered), ctx)
        y = np.multiply(normal, p["scale"], out=ctx.buffer("y", x.shape))
        if centered:
            np.add(y, p["shift"], out=y)

        def backward(dy: Array, g: Params) -> Array:
            product = np.multiply(dy, normal, out=ctx.shared("product", dy.shape))
            sum_rows(product, g["scale"], ctx)
            if centered:
                sum_rows(dy, g["shift"], ctx)
            np.multiply(dy, p["scale"], out=dy)
            _denormalize(dy.reshape(grouped(x.shape)), normal, inverse, centered, ctx)
            return dy

        return y, backward

    def start(p: Params, draws: Mapping[str, Draw]) -> None:  # noqa: ARG001 - starts as plain normalization
        p["scale"][...] = 1.0
        if centered:
            p["shift"][...] = 0.0

    return Layer(kind, settings, shapes, forward, start, flops=lambda shape: 6 * int(np.prod(shape)))


def _normalize(x: Array, normal: Array, shape: Shape, form: tuple[float, bool], ctx: Context) -> Array:
    """Write normalized x into normal; return what it was multiplied by, (A, 1, G, 1)."""
    eps, centered = form
    values, out, small = x.reshape(shape), normal.reshape(shape), (shape[0], 1, shape[2], 1)
    inverse = ctx.buffer("inverse", small)
    if centered:
        mean = np.mean(values, axis=OVER, keepdims=True, out=inverse)
        values = np.subtract(values, mean, out=out)
    squares = np.multiply(values, values, out=ctx.shared("product", shape))
    np.mean(squares, axis=OVER, keepdims=True, out=inverse)
    np.add(inverse, eps, out=inverse)
    np.sqrt(inverse, out=inverse)
    np.divide(1, inverse, out=inverse)
    np.multiply(values, inverse, out=out)
    return inverse


def _denormalize(dy: Array, normal: Array, inverse: Array, centered: bool, ctx: Context) -> None:
    """Make dy <- inverse (dy - mean(dy) - normal mean(dy normal)); the middle term only where x was centered."""
    values, mean = normal.reshape(dy.shape), ctx.shared("mean", inverse.shape)
    product = np.multiply(dy, values, out=ctx.shared("product", dy.shape))
    np.mean(product, axis=OVER, keepdims=True, out=mean)
    np.multiply(values, mean, out=product)
    if centered:
        np.mean(dy, axis=OVER, keepdims=True, out=mean)
        np.subtract(dy, mean, out=dy)
    np.subtract(dy, product, out=dy)
    np.multiply(dy, inverse, out=dy)
