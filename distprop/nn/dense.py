"""The dense layer."""

from collections.abc import Mapping

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw, InitSpec, find_initializer
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.settings import require_whole
from distprop.nn.stack import add_up, add_up_products, products


def dense(width: int, init: InitSpec | None = None, bias: bool = True) -> Layer:
    """Affine map y = x W + b.   x (N, D) -> y (N, width);  W (D, width), b (width,).

    init: an initializer for W, a name or {name: settings}; None: he_normal before relu and kin, else glorot_uniform.
    """
    require_whole("dense.width", width)
    fill = find_initializer(init)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        if len(shape) != 1:
            raise ShapeError(
                f"rows of shape {shape} do not fit",
                f"dense takes rows of shape (D,) and gives ({width},)",
                "put `flatten` in front of it",
            )
        return (width,), {"W": (shape[0], width)} | ({"b": (width,)} if bias else {})

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        y = products(x, p["W"], ctx.buffer("y", (len(x), width)), ctx)
        if bias:
            y += p["b"]

        def backward(dy: Array, g: Params) -> Array | None:
            add_up_products(x, dy, g["W"], ctx)
            if bias:
                add_up(lambda rows, out: np.sum(dy[rows], axis=0, out=out), g["b"], ctx)
            if not ctx.wants_input_gradient:
                return None
            return products(dy, p["W"].T, ctx.buffer("dx", x.shape), ctx)

        return y, backward

    def start(p: Params, draws: Mapping[str, Draw]) -> None:
        fill(p["W"], draws["W"])
        if bias:
            p["b"][...] = 0.0

    settings = {"width": width, "init": init, "bias": bias}
    return Layer("dense", settings, shapes, forward, start, flops=lambda shape: 2 * shape[0] * width, stacks=True)
