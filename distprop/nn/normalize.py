"""Normalization within a row: of its features, or of groups of its channels. No row sees another."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.normal_rows import denormalize, normalize
from distprop.nn.settings import require_number, require_whole

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
        form = _Form(*grouped(x.shape))
        normal = x if form.in_rows and ctx.may_overwrite_input else ctx.buffer("normal", x.shape)
        normal, y = normal.reshape(form.rows), ctx.buffer("y", x.shape)
        inverse, scales = ctx.buffer("inverse", form.rows[:1]), form.spread(p["scale"], "scales", ctx)
        shifts = form.spread(p["shift"], "shifts", ctx) if centered else None
        source = x.reshape(form.rows) if form.in_rows else form.to_rows(x, normal)
        made = y.reshape(form.rows) if form.in_rows else ctx.shared("made", form.rows)
        normalize(source, normal, inverse, made, scales, shifts, eps, ctx)
        if not form.in_rows:
            form.from_rows(made, y)

        def backward(dy: Array, g: Params) -> Array:
            scales = form.spread(p["scale"], "scales", ctx)
            sums = ctx.shared("sums", (1 + centered, *scales.shape), np.float64)
            sums.fill(0.0)
            dx = np.ascontiguousarray(dy)
            d = dx.reshape(form.rows) if form.in_rows else form.to_rows(dx, ctx.shared("made", form.rows))
            denormalize(d, normal, inverse, scales, sums, ctx)
            if not form.in_rows:
                form.from_rows(d, dx)
            for name, total in zip(("scale", "shift"), sums, strict=False):
                g[name][...] = form.gathered(total)
            return dx

        return y, backward

    def start(p: Params, draws: Mapping[str, Draw]) -> None:  # noqa: ARG001 - starts as plain normalization
        p["scale"][...] = 1.0
        if centered:
            p["shift"][...] = 0.0

    return Layer(kind, settings, shapes, forward, start, flops=lambda shape: 6 * int(np.prod(shape)))


class _Form(NamedTuple):
    """Values (a, b, g, d), of which b x d are normalized together: rows (a g, b d), where b is 1 as they lie there."""

    a: int
    b: int
    g: int
    d: int

    @property
    def rows(self) -> Shape:
        return self.a * self.g, self.b * self.d

    @property
    def in_rows(self) -> bool:
        return self.b == 1

    def to_rows(self, values: Array, rows: Array) -> Array:
        """Copy values to rows."""
        np.copyto(rows.reshape(self.a, self.g, self.b, self.d), self._places(values))
        return rows

    def from_rows(self, rows: Array, values: Array) -> None:
        """Copy rows to values."""
        np.copyto(self._places(values), rows.reshape(self.a, self.g, self.b, self.d))

    def _places(self, values: Array) -> Array:
        return values.reshape(self).transpose(0, 2, 1, 3)

    def spread(self, vector: Array, name: str, ctx: Context) -> Array:
        """One value a channel (C,), for all places of each group, (g, b d)."""
        if self.in_rows:
            return vector.reshape(self.g, self.d)
        room = ctx.shared(name, (self.g, self.b, self.d))
        np.copyto(room, vector.reshape(self.g, 1, self.d))
        return room.reshape(self.g, self.b * self.d)

    def gathered(self, total: Array) -> Array:
        """Sums by group and place (g, b d), added up to one a channel (C,)."""
        sums: Array = total.reshape(self.g, self.b, self.d).sum(axis=1)
        return sums.reshape(-1)
