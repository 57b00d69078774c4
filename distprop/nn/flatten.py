"""Flatten."""

import math

from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.layer import Backward, Context, Layer


def flatten() -> Layer:
    """Rows of any shape as vectors.   x (N, ...) -> y (N, D), a view."""

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        return (math.prod(shape),), {}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        shape = x.shape
        return x.reshape(len(x), math.prod(shape[1:])), lambda dy, g: dy.reshape(shape)  # noqa: ARG005

    return Layer("flatten", {}, shapes, forward, output="input", flops=lambda shape: 0, stacks=True)  # noqa: ARG005
