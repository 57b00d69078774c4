"""Self-attention."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw, glorot_uniform
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.settings import require_flag, require_whole
from distprop.nn.sums import as_matrix, sum_rows


def attention(heads: int, causal: bool = False) -> Layer:
    """Self-attention with several heads (Vaswani et al. 2017, arXiv:1706.03762).   x (N, T, D) -> y (N, T, D).

    q, k, v = x W + b, W (D, 3 D), b (3 D,); of each head softmax(q k' / sqrt(D / heads)) v; then W_out (D, D),
    b_out (D,). PyTorch's in_proj_weight and out_proj.weight are W and W_out transposed. causal: a step sees itself and
    those before it. Steps that are padding are not seen, and give 0. W, W_out start glorot_uniform, b and b_out at 0.
    """
    require_whole("attention.heads", heads)
    require_flag("attention.causal", causal)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        _require_heads(shape, heads)
        width = shape[1]
        return shape, {"W": (width, 3 * width), "b": (3 * width,), "W_out": (width, width), "b_out": (width,)}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        width, lengths = x.shape[2], ctx.lengths.values
        projected = ctx.buffer("projected", (*x.shape[:2], 3 * width))
        np.matmul(as_matrix(x), p["W"], out=as_matrix(projected))
        np.add(projected, p["b"], out=projected)
        looks = _Looks(projected, heads, causal, [x.shape[1]] * len(x) if lengths is None else lengths.tolist(), ctx)
        y = ctx.buffer("y", x.shape)
        np.matmul(as_matrix(looks.mixed), p["W_out"], out=as_matrix(y))
        np.add(y, p["b_out"], out=y)
        looks.clear_padding(y)

        def backward(dy: Array, g: Params) -> Array | None:
            looks.clear_padding(dy)
            np.matmul(as_matrix(looks.mixed).T, as_matrix(dy), out=g["W_out"])
            sum_rows(dy, g["b_out"], ctx)
            dmixed = ctx.shared("dmixed", x.shape)
            np.matmul(as_matrix(dy), p["W_out"].T, out=as_matrix(dmixed))
            looks.back(dmixed)
            np.matmul(as_matrix(x).T, as_matrix(projected), out=g["W"])
            sum_rows(projected, g["b"], ctx)
            if not ctx.wants_input_gradient:
                return None
            dx = ctx.passing("dx", x.shape)
            np.matmul(as_matrix(projected), p["W"].T, out=as_matrix(dx))
            return dx

        return y, backward

    def flops(shape: Shape) -> int:
        return 8 * shape[0] * shape[1] ** 2 + 4 * shape[0] ** 2 * shape[1]

    def keeps(shape: Shape) -> int:
        return 4 * math.prod(shape) + heads * shape[0] * (shape[0] + 1)

    settings = {"heads": heads, "causal": causal}
    return Layer("attention", settings, shapes, forward, _start, flops=flops, keeps=keeps)


class _Row(NamedTuple):
    """What one row of L real steps works on, H heads of width d: all but the last two are views (H, L, d).

    weights (H, L, L): exp of the scores, less their maximum. inverse (H, L, 1): one over its sums.
    """

    q: Array
    k: Array
    v: Array
    mixed: Array
    weights: Array
    inverse: Array


class _Looks:
    """What the steps of each row see of each other: row by row, so that it stays in a core's cache.

    projected (N, T, 3 D): q, k and v; mixed (N, T, D): what was seen. A row's padding is left out, so that a row is
    worked on as if it were no longer than it is.
    """

    def __init__(self, projected: Array, heads: int, causal: bool, lengths: list[int], ctx: Context) -> None:
        self.projected, self.heads, self.lengths, self.ctx = projected, heads, lengths, ctx
        rows, times, width = *projected.shape[:2], projected.shape[2] // 3
        kept = rows if ctx.training else 1  # without a way back, all rows use the same memory
        self.scale = 1.0 / math.sqrt(width // heads)
        self.mixed = ctx.buffer("mixed", (rows, times, width))
        self.weights = ctx.buffer("weights", (kept, heads * times * times))
        self.inverse = ctx.buffer("inverse", (kept, heads * times))
        self.later = _later(times) if causal else None
        for row, length in enumerate(lengths):
            self._look(self._row(row, length), length)
        self.clear_padding(self.mixed)

    def back(self, dmixed: Array) -> None:
        """Make `projected` its gradient, from that of `mixed`, which is overwritten."""
        for row, length in enumerate(self.lengths):
            self._look_back(self._row(row, length), self._by_head(dmixed[row, :length]))
        self.clear_padding(self.projected)

    def clear_padding(self, values: Array) -> None:
        """Make values (N, T, ...) 0 where steps are padding."""
        for row, length in enumerate(self.lengths):
            if length < values.shape[1]:
                values[row, length:] = 0

    def _row(self, row: int, length: int) -> _Row:
        kept, width = row % len(self.weights), self.mixed.shape[2]
        q, k, v = (self.projected[row, :length, start : start + width] for start in (0, width, 2 * width))
        square = self.weights[kept, : self.heads * length * length].reshape(self.heads, length, length)
        inverse = self.inverse[kept, : self.heads * length].reshape(self.heads, length, 1)
        by_head = self._by_head
        return _Row(by_head(q), by_head(k), by_head(v), by_head(self.mixed[row, :length]), square, inverse)

    def _by_head(self, values: Array) -> Array:
        """(L, D) as (H, L, d), a view."""
        return values.reshape(len(values), self.heads, values.shape[1] // self.heads).transpose(1, 0, 2)

    def _look(self, row: _Row, length: int) -> None:
        if not length:
            return
        scores = row.weights
        np.multiply(row.q, self.scale, out=row.q)
        np.matmul(row.q, row.k.transpose(0, 2, 1), out=scores)
        if self.later is not None:
            np.copyto(scores, -np.inf, where=self.later[:length, :length])
        np.max(scores, axis=2, keepdims=True, out=row.inverse)
        np.subtract(scores, row.inverse, out=scores)
        np.exp(scores, out=scores)
        np.sum(scores, axis=2, keepdims=True, out=row.inverse)
        np.divide(1, row.inverse, out=row.inverse)
        np.matmul(scores, row.v, out=row.mixed)
        np.multiply(row.mixed, row.inverse, out=row.mixed)  # fewer values than the weights are

    def _look_back(self, row: _Row, dmixed: Array) -> None:
        """Make q, k and v their gradients."""
        product, dweights = self.ctx.shared("product", dmixed.shape), self.ctx.shared("dweights", row.weights.shape)
        np.multiply(dmixed, row.inverse, out=dmixed)
        np.multiply(dmixed, row.mixed, out=product)
        shares = product.sum(axis=2, keepdims=True)
        np.matmul(dmixed, row.v.transpose(0, 2, 1), out=dweights)
        np.subtract(dweights, shares, out=dweights)
        np.multiply(dweights, row.weights, out=dweights)  # the gradient of the scores
        np.matmul(row.weights.transpose(0, 2, 1), dmixed, out=row.v)
        np.matmul(dweights, row.k, out=product)
        np.matmul(dweights.transpose(0, 2, 1), row.q, out=row.k)
        np.multiply(product, self.scale, out=row.q)


@lru_cache(maxsize=16)
def _later(times: int) -> Array:
    """Which step (second axis) is later than which (first axis), (T, T), read-only."""
    later = np.triu(np.ones((times, times), np.bool_), 1)
    later.flags.writeable = False
    return later


def _start(p: Params, draws: Mapping[str, Draw]) -> None:
    for name in ("W", "W_out"):
        glorot_uniform(p[name], draws[name])
    p["b"][...] = 0.0
    p["b_out"][...] = 0.0


def _require_heads(shape: Shape, heads: Any) -> None:
    if len(shape) != 2 or shape[1] % heads:
        raise ShapeError(
            f"rows of shape {shape} do not fit",
            f"attention with {heads} heads takes sequences, rows of shape (T, D), whose D divides by {heads}",
            "choose another number of heads, or put a `dense` of a fitting width in front",
        )
