"""Layers whose values are computed again on the way back instead of being kept: arithmetic in place of memory."""

from collections.abc import Callable
from typing import Any

import numpy as np

from distprop.nn.arrays import Array, Shape
from distprop.nn.chains import Chains
from distprop.nn.layer import Context
from distprop.nn.lengths import Lengths
from distprop.nn.workspace import Workspace

Back = Callable[[Array, Any], Array | None]
Run = Callable[[Any, Array, Context], tuple[Array, Back]]
"""As Layer.forward: (p, x, context) -> (y, backward), whatever p and g are."""


class Aside(Workspace):
    """A part of a workspace's memory that all recomputed layers take turns to use, nested ones at each depth.

    Layers find their buffers by their number, counted from `layer` on, and by the piece, counted from `piece` on.
    """

    def __init__(self, workspace: Workspace, layer: int, piece: int) -> None:
        super().__init__()
        self._workspace, self._layer, self._piece = workspace, layer, piece

    def buffer(self, name: tuple[Any, ...], shape: Shape, dtype: np.dtype[Any]) -> Array:
        """As a workspace's; what layers share with the next one they share with those around, too."""
        return self._workspace.buffer(self._aside(name), shape, dtype)

    def _aside(self, name: tuple[Any, ...]) -> tuple[Any, ...]:
        match name:
            case (int(layer), role):
                return "aside", layer - self._layer, role
            case (int(layer), role, piece):
                return "aside", layer - self._layer, role, piece - self._piece
            case ("aside", *_):
                return "aside", *name
            case _:
                return name


def recomputed(forward: Run, first: int = 0) -> Run:
    """`forward` with the same bits, of which x and y alone are kept; the way back runs it once more.

    Source: Chen et al. 2016, arXiv:1604.06174. first: the number of its first layer, from the context's on.
    """

    def again(p: Any, x: Array, ctx: Context) -> tuple[Array, Back]:
        before = ctx.lengths.values
        aside = Aside(ctx.workspace, ctx.layer + first, ctx.piece)
        inner = ctx.but(workspace=aside, may_overwrite_input=False, output_passes=False, written=None)

        def back(dy: Array, g: Any) -> Array | None:
            _, inner_back = forward(p, x, inner.but(lengths=Lengths(before), watch=None))  # which has seen it all
            dx = inner_back(dy, g)
            if dx is None or np.may_share_memory(dx, dy):
                return dx
            return _copy(dx, ctx.passing("dx again", dx.shape))

        lengths = Lengths(before)
        y, _ = forward(p, x, inner.but(lengths=lengths))
        if lengths.values is not None and lengths.values is not before:
            lengths.values = _copy(lengths.values, ctx.buffer(f"lengths {first}", (len(x),), np.intp))
        ctx.lengths.values = lengths.values
        name = f"y again {first}"
        return _copy(y, ctx.passing(name, y.shape) if ctx.output_passes else ctx.buffer(name, y.shape)), back

    return again


class InTurn:
    """Chains of which `every` layers at a time are recomputed; the bits are those of the whole."""

    def __init__(self, whole: Chains, every: int) -> None:
        self._first_trained, self._parts = whole.first_trained, whole.cut(every)
        self._runs = [recomputed(part.forward, part.stages[0].number) for part in self._parts]

    def forward(self, p: Any, x: Array, ctx: Context) -> tuple[Array, Back]:
        """As `Chains.forward`."""
        backs = []
        for part, run in zip(self._parts, self._runs, strict=True):
            wanted = ctx.wants_input_gradient or part.stages[0].index > self._first_trained
            passes = ctx.output_passes and part is self._parts[-1]
            x, back = run(p, x, ctx.but(wants_input_gradient=wanted, output_passes=passes))
            backs.append(back)

        def backward(dy: Array, g: Any) -> Array | None:
            dx: Array | None = dy
            for part, back in zip(reversed(self._parts), reversed(backs), strict=True):
                if not ctx.wants_input_gradient and part.stages[-1].index < self._first_trained:
                    break
                assert dx is not None, "only the last one that is called may return None"
                dx = back(dx, g)
            return dx

        return x, backward


def _copy(values: Array, out: Array) -> Array:
    np.copyto(out, values)
    return out
