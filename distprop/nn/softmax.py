"""The softmax layer."""

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.elementwise import output_buffer
from distprop.nn.layer import Backward, Context, Layer


def softmax_rows(x: Array, out: Array) -> Array:
    """exp(x) divided by its sum over the last axis, into out, which may be x. Shifted: exp cannot overflow."""
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, out.sum(axis=-1, keepdims=True), out=out)
    return out


def softmax() -> Layer:
    """Positive values that add up to 1 in each row.   x (N, D) -> y (N, D).

    Not for the last layer under softmax_cross_entropy: that loss takes raw outputs.
    """

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        if len(shape) != 1:
            raise ShapeError(
                f"rows of shape {shape} do not fit", "softmax takes rows of shape (D,)", "put `flatten` in front"
            )
        return shape, {}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        y = softmax_rows(x, output_buffer(x, ctx))

        def backward(dy: Array, g: Params) -> Array:  # noqa: ARG001
            product = np.multiply(dy, y, out=ctx.buffer("product", y.shape))
            np.subtract(dy, product.sum(axis=1, keepdims=True), out=dy)
            return np.multiply(dy, y, out=dy)

        return y, backward

    return Layer("softmax", {}, shapes, forward, output="kept", flops=lambda shape: 4 * shape[0])
