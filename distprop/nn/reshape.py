"""Reshape."""

import math
from collections.abc import Sequence

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.settings import require_whole


def reshape(shape: Sequence[int]) -> Layer:
    """Rows in another shape, values in the same order.   x (N, ...) -> y (N, *shape), a view.

    One length may be -1: what is left for it.
    """
    if not isinstance(shape, list | tuple) or not shape or list(shape).count(-1) > 1:
        raise ConfigError(
            f"`reshape.shape` is {shape!r}", "it is the lengths of a row, of which one may be -1", "write [28, 28, 1]"
        )
    for length in shape:
        if length != -1:
            require_whole("reshape.shape", length)

    def shapes(given: Shape) -> tuple[Shape, dict[str, Shape]]:
        known, size = math.prod(length for length in shape if length != -1), math.prod(given)
        made = tuple(size // known if length == -1 else length for length in shape)
        if math.prod(made) != size:
            raise ShapeError(
                f"rows of shape {given} do not fit",
                f"they have {size} values; {tuple(shape)} takes {'multiples of ' if -1 in shape else ''}{known}",
                "use -1 for the length that follows from the others",
            )
        return made, {}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:  # noqa: ARG001 - has no parameters
        y = x.reshape(len(x), *shapes(x.shape[1:])[0])
        return y, lambda dy, g: dy.reshape(x.shape)  # noqa: ARG005

    return Layer("reshape", {"shape": list(shape)}, shapes, forward, output="input", flops=lambda given: 0)  # noqa: ARG005
