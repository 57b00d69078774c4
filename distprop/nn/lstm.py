"""The LSTM."""

import numpy as np

from distprop.nn.arrays import Array, Params
from distprop.nn.init import InitSpec
from distprop.nn.layer import Layer
from distprop.nn.recurrent import Back, Cell, Ending, Run, recurrent
from distprop.nn.steps import parts


def lstm(units: int, bidirectional: bool = False, output: str = "last", init: InitSpec | None = None) -> Layer:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000), in PyTorch's form.

    x (N, T, D) -> y (N, units), the output at the last real step; with output: sequence (N, T, units), 0 where
    steps are padding.  i, f, g, o = x W + h U + b;  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c').
    W (D, 4 units), U (units, 4 units), b (4 units,), gates in the order i, f, g, o: PyTorch's weight_ih and weight_hh
    transposed, and the sum of its two biases. bidirectional: a second one, W_reverse..., from the last real step to
    the first; y is twice as wide. init: of W and U; None: glorot_uniform. b starts at 0, at 1 for f
    (Jozefowicz et al. 2015, ICML).
    """
    return recurrent(Cell("lstm", (0.5, 0.5, 1.0, 0.5), (), _forward, _start), units, bidirectional, output, init)


def _start(p: Params) -> None:
    units = len(p["U"])
    p["b"][...] = 0.0
    p["b"][units : 2 * units] = 1.0


def _forward(p: Params, weights: Array, run: Run) -> Back:
    ctx, steps, states = run.ctx, run.steps, run.states
    rows, units = steps.rows, len(weights)
    cells = ctx.buffer("cells" + run.suffix, (rows * (steps.times + 1), units))[: len(states)]
    cells[:rows] = 0
    product, scratch = ctx.shared("product", (rows, 4 * units)), ctx.shared("scratch", (rows, units))
    half = np.repeat(np.asarray([0.5, 0.5, 1.0, 0.5], ctx.dtype), units)
    shift = np.repeat(np.asarray([0.5, 0.5, 0.0, 0.5], ctx.dtype), units)
    for time in steps.forth:
        count, before, after = steps.counts[time], steps.before(time), steps.after(time)
        gates, c = run.gates[steps.at(time)], cells[after]
        np.add(gates, np.matmul(states[before], weights, out=product[:count]), out=gates)
        np.tanh(gates, out=gates)  # sigmoid(x) = (1 + tanh(x / 2)) / 2
        np.multiply(gates, half, out=gates)
        np.add(gates, shift, out=gates)
        for part in parts(count, units):
            _step(gates[part], cells[before][part], c[part], states[after][part], scratch)
    return lambda ending, g: _backward(p, cells, run, ending, g)


def _step(gates: Array, c: Array, cells: Array, states: Array, scratch: Array) -> None:
    """Write cells and states after a step, c being the cells before it."""
    i, f, g, o = _split(gates)
    rest = scratch[: len(c)]
    np.multiply(f, c, out=cells)
    np.add(cells, np.multiply(i, g, out=rest), out=cells)
    np.multiply(o, np.tanh(cells, out=rest), out=states)


def _backward(p: Params, cells: Array, run: Run, ending: Ending, g: Params) -> None:
    ctx, steps, units = run.ctx, run.steps, cells.shape[1]
    dc = ctx.shared("dc", ending.dh.shape)
    dc.fill(0)
    slopes, scratch = ctx.shared("product", (steps.rows, 4 * units)), ctx.shared("scratch", ending.dh.shape)
    for time in reversed(steps.forth):
        count, at = steps.counts[time], steps.at(time)
        dh = ending.dh[:count]
        if ending.dy is not None:
            np.add(dh, ending.dy[at], out=dh)
        c, gates = cells[steps.before(time)], run.gates[at]
        tanh = np.tanh(cells[steps.after(time)], out=scratch[:count])
        for part in parts(count, units):
            _step_back(gates[part], slopes[part], (c[part], tanh[part]), (dc[part], dh[part]))
        np.matmul(gates, p["U"].T, out=dh)
    before = steps.all_before(run.states, ctx.shared("before", (steps.rows * steps.times, units)))
    np.matmul(before.T, run.gates, out=g["U"])


def _step_back(gates: Array, slopes: Array, cells: tuple[Array, Array], gradients: tuple[Array, Array]) -> None:
    """Make gates (N, 4 units) their gradients.

    slopes: scratch of their shape. cells: those before the step, and the tanh of those after it, which is overwritten.
    gradients: of the cells after the step, which becomes that of those before it, and of the state after it.
    """
    (c, tanh), (dc, dh) = cells, gradients
    i, f, g, o = _split(gates)
    np.multiply(gates, gates, out=slopes)
    to_i, to_f, to_g, to_o = _split(slopes)
    for gate, slope in ((i, to_i), (f, to_f), (o, to_o)):
        np.subtract(gate, slope, out=slope)  # s - s^2
    np.subtract(1, to_g, out=to_g)
    for slope, factor in ((to_i, g), (to_f, c), (to_g, i), (to_o, tanh)):
        np.multiply(slope, factor, out=slope)
    np.multiply(tanh, tanh, out=tanh)
    np.subtract(1, tanh, out=tanh)
    np.multiply(tanh, o, out=tanh)
    np.multiply(tanh, dh, out=tanh)
    np.add(dc, tanh, out=dc)
    np.multiply(to_o, dh, out=o)
    np.multiply(to_i, dc, out=i)
    np.multiply(to_g, dc, out=g)
    np.multiply(dc, f, out=tanh)
    np.multiply(to_f, dc, out=f)
    np.copyto(dc, tanh)


def _split(gates: Array) -> tuple[Array, Array, Array, Array]:
    units = gates.shape[1] // 4
    i, f, g, o = (gates[:, start : start + units] for start in range(0, 4 * units, units))
    return i, f, g, o
