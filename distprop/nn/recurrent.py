"""What recurrent layers share: packed time steps, both directions, and products over all steps at once."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.init import Draw, InitSpec, find_initializer
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.settings import require_flag, require_whole
from distprop.nn.steps import Steps
from distprop.nn.sums import sum_rows
from distprop.suggest import suggest_name

OUTPUTS = ("last", "sequence")


class Run(NamedTuple):
    """One direction of one pass. M: real time steps of all rows; S: states, N of zeros and one for each step.

    gates (M, G * units): x W + b, with each gate's scale; becomes the gradient of that. states (N + M, units).
    suffix: what the names of this direction's memory end in.
    """

    steps: Steps
    gates: Array
    states: Array
    suffix: str
    ctx: Context


class Ending(NamedTuple):
    """What comes back into a run: dh (N, units), of each row's last state; dy (M, units), of each step's, or None."""

    dh: Array
    dy: Array | None


Back = Callable[[Ending, Params], None]
"""(ending, g): makes run.gates the gradients of x W + b, and writes those of the cell's own parameters."""


class Cell(NamedTuple):
    """A recurrent layer's step.

    scales: for each gate, what its x W + b and h U are multiplied by: 1/2 makes a sigmoid of a tanh.
    extra: names of parameters (units,) beside W, U and b.
    forward: (p, U with scales, run) -> back; writes run.states.
    start: fills b and the extra parameters.
    """

    kind: str
    scales: tuple[float, ...]
    extra: tuple[str, ...]
    forward: Callable[[Params, Array, Run], Back]
    start: Callable[[Params], None]


def recurrent(cell: Cell, units: int, bidirectional: bool, output: str, init: InitSpec | None) -> Layer:
    """The layer that runs a cell along time."""
    kind, gates = cell.kind, len(cell.scales)
    require_whole(f"{kind}.units", units)
    _require(kind, bidirectional, output)
    fill = find_initializer(init or "glorot_uniform")
    suffixes = ("", "_reverse") if bidirectional else ("",)

    def shapes(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
        times, depth = _times_and_depth(kind, shape)
        own = {"W": (depth, gates * units), "U": (units, gates * units), "b": (gates * units,)}
        own |= dict.fromkeys(cell.extra, (units,))
        width = units * len(suffixes)
        out = (times, width) if output == "sequence" else (width,)
        return out, {name + suffix: of for suffix in suffixes for name, of in own.items()}

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        backs = [_Direction(cell, suffix, _of(p, suffix), x, ctx) for suffix in suffixes]
        width = units * len(suffixes)
        y = ctx.buffer("y", (len(x), *((x.shape[1],) if output == "sequence" else ()), width))
        if output == "sequence" and not backs[0].steps.whole:
            y.fill(0)
        for number, direction in enumerate(backs):
            direction.write(y[..., number * units : (number + 1) * units])

        def backward(dy: Array, g: Params) -> Array | None:
            parts = [
                direction.backward(dy[..., number * units : (number + 1) * units], _of(g, direction.suffix))
                for number, direction in enumerate(backs)
            ]
            return _sum(parts, ctx)

        return y, backward

    def start(p: Params, draws: Mapping[str, Draw]) -> None:
        for suffix in suffixes:
            own = _of(p, suffix)
            fill(own["W"], draws["W" + suffix])
            fill(own["U"], draws["U" + suffix])
            cell.start(own)

    def flops(shape: Shape) -> int:
        return 2 * shape[0] * (shape[1] + units) * gates * units * len(suffixes)

    def keeps(shape: Shape) -> int:
        # Packed inputs, gates, states; and one more: an LSTM's cells, a GRU's products.
        return shape[0] * (shape[1] + (gates + 2) * units) * len(suffixes)

    settings = {"units": units, "bidirectional": bidirectional, "output": output, "init": init}
    return Layer(kind, settings, shapes, forward, start, flops=flops, undivided=True, keeps=keeps)


class _Direction:
    """One direction of one pass: forward when made, then the way back."""

    def __init__(self, cell: Cell, suffix: str, p: Params, x: Array, ctx: Context) -> None:
        self.suffix, self.p, self.x, self.ctx = suffix, p, x, ctx
        rows, times, depth = x.shape
        wide = p["W"].shape[1]
        self.steps = Steps(ctx.lengths.values, rows, times, bool(suffix))
        self.packed = self._buffer("x", (rows * times, depth))[: self.steps.count]
        self.steps.gather(x, self.packed)
        self.gates = self._buffer("gates", (rows * times, wide))[: self.steps.count]
        scale = np.repeat(np.asarray(cell.scales, ctx.dtype), wide // len(cell.scales))
        np.matmul(self.packed, np.multiply(p["W"], scale, out=ctx.shared("scaled", p["W"].shape)), out=self.gates)
        np.add(self.gates, p["b"] * scale, out=self.gates)
        self.states = self._buffer("states", (rows * (times + 1), p["U"].shape[0]))[: rows + self.steps.count]
        self.states[:rows] = 0
        run = Run(self.steps, self.gates, self.states, suffix, ctx)
        self.back = cell.forward(p, np.multiply(p["U"], scale, out=ctx.shared("scaled", p["U"].shape)), run)

    def write(self, y: Array) -> None:
        """Write this direction's output: of the last real steps where y is (N, units), else of all."""
        if y.ndim == 2:
            for row, place in zip(self.steps.order, self.steps.finals, strict=True):
                y[row] = self.states[place]
        else:
            self.steps.scatter(self.states[len(self.x) :], y)

    def backward(self, dy: Array, g: Params) -> Array | None:
        """(dy, g of this direction) -> dx."""
        ctx, steps = self.ctx, self.steps
        dh = ctx.shared("dh", (len(self.x), self.states.shape[1]))
        if dy.ndim == 2:
            for place, row in enumerate(steps.order):
                dh[place] = dy[row]
            self.back(Ending(dh, None), g)
        else:
            dh.fill(0)
            self.back(Ending(dh, self._packed(dy)), g)
        np.matmul(self.packed.T, self.gates, out=g["W"])
        sum_rows(self.gates, g["b"], ctx)
        return self._input_gradient() if ctx.wants_input_gradient else None

    def _packed(self, dy: Array) -> Array:
        """The real steps of dy (N, T, units), (M, units)."""
        rows, times, units = dy.shape
        packed = self.ctx.shared("dy", (rows * times, units))[: self.steps.count]
        if not self.steps.whole and not dy.flags.c_contiguous:
            dy = np.positive(dy, out=self.ctx.shared("half", dy.shape))
        self.steps.gather(dy, packed)
        return packed

    def _input_gradient(self) -> Array:
        np.matmul(self.gates, self.p["W"].T, out=self.packed)  # the packed inputs were needed for the last time
        dx = self._buffer("dx", self.x.shape)
        if not self.steps.whole:
            dx.fill(0)
        self.steps.scatter(self.packed, dx)
        return dx

    def _buffer(self, name: str, shape: Shape) -> Array:
        return self.ctx.buffer(name + self.suffix, shape)


def _of(p: Params, suffix: str) -> Params:
    """One direction's parameters, by their names without suffix."""
    return {name.removesuffix(suffix): view for name, view in p.items() if name.endswith("_reverse") == bool(suffix)}


def _sum(parts: list[Array | None], ctx: Context) -> Array | None:
    if not ctx.wants_input_gradient:
        return None
    total, *others = (part for part in parts if part is not None)
    for other in others:
        np.add(total, other, out=total)
    return total


def _times_and_depth(kind: str, shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        raise ShapeError(
            f"rows of shape {shape} do not fit",
            f"{kind} takes sequences, rows of shape (T, D)",
            "put `reshape` in front of it, or `embedding` where rows are ids",
        )
    return shape[0], shape[1]


def _require(kind: str, bidirectional: Any, output: Any) -> None:
    require_flag(f"{kind}.bidirectional", bidirectional)
    if output not in OUTPUTS:
        raise ConfigError(
            f"`{kind}.output` is {output!r}", f"there are: {', '.join(OUTPUTS)}", suggest_name(str(output), OUTPUTS)
        )
