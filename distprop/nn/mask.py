"""Which time steps are padding, told by their values; and a mean over those that are not."""

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.lengths import Counts, count_real
from distprop.nn.settings import require_number


def mask(value: float = 0.0) -> Layer:
    """Time steps at the end of a row whose values all equal `value` are padding, for all layers that follow.

    x (N, T, D) -> x. Nothing changes but how long the rows are taken for.
    """
    require_number("mask.value", value, -np.inf)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        if len(shape) != 2:
            raise ShapeError(
                f"rows of shape {shape} do not fit",
                "mask takes sequences, rows of shape (T, D)",
                "give ids to an `embedding` with `padding`",
            )
        return shape, {}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        differs = np.not_equal(x, value, out=ctx.shared("differs", x.shape, np.bool_))
        real = np.any(differs, axis=2, out=ctx.shared("real", x.shape[:2], np.bool_))
        ctx.lengths.values = count_real(real, ctx.buffer("lengths", (len(x),), np.intp))
        return x, lambda dy, g: dy  # noqa: ARG005

    return Layer("mask", {"value": value}, shapes, forward, output="input")


def shares_of_time(lengths: Counts, times: int, out: Array) -> Array:
    """What each time step counts in a mean over its row's real ones, into out (N, T): 1 / length, or 0."""
    shares = np.divide(1, np.maximum(lengths, 1)).astype(out.dtype)
    np.copyto(out, shares[:, None])
    np.copyto(out, 0, where=np.arange(times) >= lengths[:, None])  # no product: it would convert the mask in a buffer
    return out
