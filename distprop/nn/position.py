"""Positions: what tells a layer that sees all time steps alike where in time they are."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.elementwise import output_buffer
from distprop.nn.init import Draw, normal
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.sums import sum_rows
from distprop.suggest import suggest_name

KINDS = ("learned", "sinusoidal")
DEVIATION = 0.02  # of learned positions at the start, as in BERT (Devlin et al. 2019)


def position(kind: str) -> Layer:
    """Add to each time step what stands for its place.   x (N, T, D) -> y (N, T, D).

    learned: a parameter W (T, D), normal of deviation 0.02 at the start. sinusoidal: fixed waves (Vaswani et al. 2017,
    arXiv:1706.03762): sin(t / 10000^(2 i / D)) in column 2 i, cos of the same in column 2 i + 1.
    """
    if kind not in KINDS:
        raise ConfigError(
            f"`position.kind` is {kind!r}", f"there are: {', '.join(KINDS)}", suggest_name(str(kind), KINDS)
        )
    learned = kind == "learned"

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        if len(shape) != 2:
            raise ShapeError(
                f"rows of shape {shape} do not fit",
                "position takes sequences, rows of shape (T, D)",
                "put it behind `embedding`, or behind a `reshape`",
            )
        return shape, {"W": shape} if learned else {}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        places = p["W"] if learned else waves(x.shape[1], x.shape[2], ctx.dtype)
        y = np.add(x, places, out=output_buffer(x, ctx))

        def backward(dy: Array, g: Params) -> Array:
            if learned:
                sum_rows(dy.reshape(len(dy), places.size), g["W"].reshape(-1), ctx)
            return dy

        return y, backward

    def start(p: Params, draws: Mapping[str, Draw]) -> None:
        if learned:
            normal(DEVIATION)(p["W"], draws["W"])

    return Layer("position", {"kind": kind}, shapes, forward, start)


@lru_cache(maxsize=16)
def waves(times: int, width: int, dtype: np.dtype[Any]) -> Array:
    """Sinusoidal positions (T, D), read-only."""
    columns = np.arange(width)
    angles = np.arange(times)[:, None] / 10_000.0 ** (columns // 2 * 2 / width)
    made = np.where(columns % 2, np.cos(angles), np.sin(angles)).astype(dtype)
    made.flags.writeable = False
    return made
