"""The bits of a layer's pass, with compiled loops and with NumPy alone."""

from typing import Any

import numpy as np
import pytest

from distprop.nn.layer import Context, Layer
from distprop.nn.workspace import Workspace

ODD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 2.0, 2.0], np.float32)


def drawn(shape: tuple[int, ...], seed: int, odd: float) -> np.ndarray:
    """Normal values; a share of them equal ones, infinities, NaN, and zeros of both signs."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=shape).astype(np.float32)
    where = draw.random(shape) < odd
    values[where] = draw.choice(ODD, int(where.sum()))
    return values


def passed(layer: Layer, x: np.ndarray, seed: int, odd: float, **context: Any) -> list[bytes]:
    """The bits of the output, and of all gradients; any NaN is as good as another."""
    _, shapes = layer.shapes(x.shape[1:])
    p, g = ({name: np.zeros(shape, np.float32) for name, shape in shapes.items()} for _ in range(2))
    for number, values in enumerate(p.values()):
        values[...] = drawn(values.shape, number, 0.0)
    with np.errstate(all="ignore"):
        y, backward = layer.forward(p, x.copy(), Context(Workspace(), 0, np.dtype(np.float32), **context))
        found = [y.copy()]
        found += [backward(drawn(y.shape, seed + 1, odd), g), *g.values()]
    return [np.where(np.isnan(one), np.float32(np.nan), one).tobytes() for one in found]


def with_and_without(
    loops: tuple[Any, str], layer: Layer, x: np.ndarray, seed: int, odd: float = 0.1, **context: Any
) -> tuple[list[bytes], list[bytes]]:
    """What `passed` gives with the compiled module of this name, and without it. odd: share of odd values of dy."""
    compiled = passed(layer, x, seed, odd, **context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*loops, None)
        return compiled, passed(layer, x, seed, odd, **context)
