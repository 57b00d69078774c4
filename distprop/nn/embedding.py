"""The embedding."""

import math
from collections.abc import Mapping

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw, InitSpec, find_initializer, normal
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.lengths import count_real
from distprop.nn.lookup import Ids, sum_by_id, take_rows, to_ids
from distprop.nn.settings import require_whole

EXACT = 2**24  # float32 numbers are exact up to it: larger ids would be taken for others


def embedding(rows: int, width: int, padding: int | None = None, init: InitSpec | None = None) -> Layer:
    """For each id its row of W (rows, width).   x (N, T), ids as numbers -> y (N, T, width); (N, 1) -> (N, width).

    padding: an id that gives 0, and whose row gets no gradient; where it fills the end of a row (T,), these time steps
    are padding for all layers that follow. init: of W; None: normal of variance 1 / width. Gradients of an id that
    occurs several times are added in the order of its places. Ids have no gradient. Raises DataError for an x that is
    no whole number from 0 to rows - 1.
    """
    _require(rows, width, padding)
    fill = normal(1 / math.sqrt(width)) if init is None else find_initializer(init)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        return (*_places(shape), width), {"W": (rows, width)}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        ids = to_ids(x, rows, "an embedding", ctx)
        y = ctx.buffer("y", (len(x), *_places(x.shape[1:]), width))
        flat = take_rows(p["W"], ids, y.reshape(ids.size, width))
        if padding is not None:
            real = np.not_equal(ids, padding, out=ctx.shared("real", ids.shape, np.bool_))
            np.multiply(flat, real[:, None], out=flat)
            if y.ndim == 3:
                ctx.lengths.values = count_real(real.reshape(x.shape), ctx.buffer("lengths", (len(x),), np.intp))

        def backward(dy: Array, g: Params) -> Array | None:
            _write(g["W"], *sum_by_id(ids, dy.reshape(ids.size, width), ctx), padding)
            if not ctx.wants_input_gradient:
                return None
            dx = ctx.passing("dx", x.shape)
            dx.fill(0)
            return dx

        return y, backward

    def start(p: Params, draws: Mapping[str, Draw]) -> None:
        fill(p["W"], draws["W"])
        if padding is not None:
            p["W"][padding] = 0

    settings = {"rows": rows, "width": width, "padding": padding, "init": init}

    def flops(shape: Shape) -> int:
        return math.prod(_places(shape)) * width

    return Layer("embedding", settings, shapes, forward, start, flops=flops, ids=rows)


def _write(table: Array, ids: Ids, rows: Array, padding: int | None) -> None:
    """Make the table these rows, 0 elsewhere and where the padding is."""
    table.fill(0)
    table[ids] = rows
    if padding is not None:
        table[padding] = 0


def _places(shape: Shape) -> Shape:
    """One id alone has no axis of its own."""
    return () if shape == (1,) else shape


def _require(rows: int, width: int, padding: int | None) -> None:
    require_whole("embedding.rows", rows)
    require_whole("embedding.width", width)
    if rows > EXACT:
        raise ConfigError(
            f"`embedding.rows` is {rows}", f"ids travel as float32, which is exact up to {EXACT}", "hash them to fewer"
        )
    if padding is not None and (isinstance(padding, bool) or not isinstance(padding, int) or not 0 <= padding < rows):
        raise ConfigError(
            f"`embedding.padding` is {padding!r}", f"it is an id, from 0 to {rows - 1}", "write padding: 0"
        )
