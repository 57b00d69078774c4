"""Rows (M, D), normalized and on the way back: by compiled loops, or block by block by NumPy, with the same bits.

Where there are K scales, row r has number r modulo K.
"""

from collections.abc import Iterator

import numpy as np

from distprop.loops import normalizing as loops
from distprop.loops.normalizing import LANES
from distprop.nn.arrays import BLOCK, Array
from distprop.nn.layer import Context


def normalize(
    x: Array, normal: Array, inverse: Array, y: Array, scales: Array, shifts: Array | None, eps: float, ctx: Context
) -> None:
    """Write normalized x into normal, which may be x, and normal scale + shift into y: see `loops.normalizing`."""
    if loops.compiled(x):
        loops.normalize(x, normal, inverse, y, scales, shifts, eps)
        return
    exact = _Exact(x, len(scales), ctx)
    for block in _blocks(x, len(scales)):
        values, out, factor = x[block], normal[block], inverse[block]
        if shifts is not None:
            mean = exact.sums(values) / x.shape[1]
            values = np.subtract(values, mean.astype(x.dtype)[:, None], out=out)
        square = exact.sums(values, values) / x.shape[1]
        factor[:] = 1.0 / np.sqrt(square + eps)
        np.multiply(values, factor[:, None], out=out)
        to = _by_kind(y[block], scales)
        np.multiply(_by_kind(out, scales), scales, out=to)
        if shifts is not None:
            np.add(to, shifts, out=to)


def denormalize(dy: Array, normal: Array, inverse: Array, scales: Array, sums: Array, ctx: Context) -> None:
    """Make dx of dy, in its place, and add up the gradients of scales and shifts: see `loops.normalizing`."""
    if loops.compiled(dy):
        loops.denormalize(dy, normal, inverse, scales, sums)
        return
    exact = _Exact(dy, len(scales), ctx)
    for block in _blocks(dy, len(scales)):
        d, values = dy[block], normal[block]
        for total, factors in zip(sums, (values, None), strict=False):
            exact.add_rows(total, d, factors)
        by_kind = _by_kind(d, scales)
        np.multiply(by_kind, scales, out=by_kind)
        along = exact.sums(d, values) / dy.shape[1]
        if len(sums) == 2:
            mean = exact.sums(d) / dy.shape[1]
            np.subtract(d, mean.astype(dy.dtype)[:, None], out=d)
        part = ctx.shared("product", d.shape)
        np.multiply(values, along.astype(dy.dtype)[:, None], out=part)
        np.subtract(d, part, out=d)
        np.multiply(d, inverse[block][:, None], out=d)


def _blocks(rows: Array, kinds: int) -> Iterator[slice]:
    height = _height(rows, kinds)
    return (slice(start, start + height) for start in range(0, len(rows), height))


def _height(rows: Array, kinds: int) -> int:
    """Rows of a block: as many of each kind."""
    return kinds * max(1, BLOCK // (kinds * int(rows.shape[1])))


def _by_kind(rows: Array, scales: Array) -> Array:
    return rows.reshape(-1, *scales.shape)


class _Exact:
    """Sums over rows and over columns of blocks of `rows`, or of their products with factors, in float64."""

    def __init__(self, rows: Array, kinds: int, ctx: Context) -> None:
        height, self._width = _height(rows, kinds), int(rows.shape[1])
        self._stacked = ctx.shared("exact rows", (kinds + height, self._width), np.float64)
        # A row's values one below the other, so that NumPy adds many rows at a time; zeros below them change no sum.
        self._columns = ctx.shared("exact columns", (-(-self._width // LANES) * LANES, height), np.float64)
        self._columns[self._width :] = 0.0

    def sums(self, values: Array, factors: Array | None = None) -> Array:
        """The sum of each row, lane by lane, (M,)."""
        columns = self._columns[:, : len(values)]
        products = columns[: self._width]
        np.copyto(products, values.T)
        if factors is not None:
            np.multiply(products, products if factors is values else factors.T, out=products)
        lanes: Array = np.add.reduce(columns.reshape(-1, LANES, len(values)), axis=0, initial=0.0)
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = lanes[:half] + lanes[half:]
        return lanes.reshape(-1)

    def add_rows(self, total: Array, values: Array, factors: Array | None = None) -> None:
        """Add rows to a total (K, D), one after the other."""
        stacked = self._stacked[: len(total) + len(values)]
        products = stacked[len(total) :]
        np.copyto(stacked[: len(total)], total)
        np.copyto(products, values)
        if factors is not None:
            np.multiply(products, factors, out=products)
        np.add.reduce(stacked.reshape(-1, *total.shape), axis=0, out=total)
