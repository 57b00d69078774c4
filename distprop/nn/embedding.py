"""The embedding."""

import math
from collections.abc import Mapping

import numpy as np

from distprop.errors import ConfigError
from distprop.nn.arrays import BLOCK, Array, Params, Shape
from distprop.nn.init import Draw, InitSpec, find_initializer, normal
from distprop.nn.layer import Backward, Context, Layer, no_tables
from distprop.nn.lengths import count_real
from distprop.nn.lookup import sum_by_id, take_rows, to_ids
from distprop.nn.rows import RowGradients, TableUse, Touched
from distprop.nn.settings import require_flag, require_whole

EXACT = 2**24  # float32 numbers are exact up to it: larger ids would be taken for others


def embedding(
    rows: int, width: int, padding: int | None = None, init: InitSpec | None = None, sparse: bool = False
) -> Layer:
    """For each id its row of W (rows, width).   x (N, T), ids as numbers -> y (N, T, width); (N, 1) -> (N, width).

    padding: an id that gives 0, and whose row gets no gradient; where it fills the end of a row (T,), these time steps
    are padding for all layers that follow. init: of W; None: normal of variance 1 / width. Gradients of an id that
    occurs several times are added in the order of its places. Ids have no gradient. sparse: a step sends and updates
    the rows that it touched and no others, whose optimizer state waits for them (as torch.optim.SparseAdam): for tables
    with far more rows than a step has ids. Raises DataError for an x that is no whole number from 0 to rows - 1.
    """
    _require(rows, width, padding, sparse)
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
            touched = Touched(*sum_by_id(ids, dy.reshape(ids.size, width), ctx))
            _hand_over(touched, padding, ctx.rows[ctx.layer] if sparse and ctx.rows else g["W"])
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

    settings = {"rows": rows, "width": width, "padding": padding, "init": init, "sparse": sparse}

    def flops(shape: Shape) -> int:
        return math.prod(_places(shape)) * width

    tables = _table if sparse else no_tables
    return Layer("embedding", settings, shapes, forward, start, flops=flops, ids=rows, tables=tables)


def _table(shape: Shape) -> dict[str, TableUse]:
    return {"W": TableUse(0, math.prod(shape))}


def _hand_over(touched: Touched, padding: int | None, to: RowGradients | Array) -> None:
    if isinstance(to, RowGradients):
        _append(to, touched, padding)
    else:
        _write(to, touched, padding)


def _append(rows: RowGradients, touched: Touched, padding: int | None) -> None:
    """All but the row of the padding, which nothing changes."""
    ids, values = touched
    at = len(ids) if padding is None else int(np.searchsorted(ids, padding))
    after = at + 1 if at < len(ids) and ids[at] == padding else at
    rows.append(ids[:at], values[:at])
    rows.append(ids[after:], values[after:])


def _write(table: Array, touched: Touched, padding: int | None) -> None:
    """Make the table these rows, 0 elsewhere and where the padding is."""
    table.fill(0)
    table[touched.ids] = touched.rows
    if padding is not None:
        table[padding] = 0


def _places(shape: Shape) -> Shape:
    """One id alone has no axis of its own."""
    return () if shape == (1,) else shape


def _require(rows: int, width: int, padding: int | None, sparse: bool) -> None:
    require_whole("embedding.rows", rows)
    require_whole("embedding.width", width)
    if rows > EXACT:
        raise ConfigError(
            f"`embedding.rows` is {rows}", f"ids travel as float32, which is exact up to {EXACT}", "hash them to fewer"
        )
    require_flag("embedding.sparse", sparse)
    if sparse and width > BLOCK:
        raise ConfigError(
            f"`embedding.width` is {width}", f"sparse rows have at most {BLOCK} values", "leave sparse out"
        )
    if padding is not None and (isinstance(padding, bool) or not isinstance(padding, int) or not 0 <= padding < rows):
        raise ConfigError(
            f"`embedding.padding` is {padding!r}", f"it is an id, from 0 to {rows - 1}", "write padding: 0"
        )
