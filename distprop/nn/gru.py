"""The GRU."""

import numpy as np

from distprop.nn.arrays import Array, Params
from distprop.nn.init import InitSpec
from distprop.nn.layer import Layer
from distprop.nn.recurrent import Back, Cell, Ending, Run, recurrent
from distprop.nn.steps import parts
from distprop.nn.sums import sum_rows


def gru(units: int, bidirectional: bool = False, output: str = "last", init: InitSpec | None = None) -> Layer:
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), in PyTorch's form: reset after the product.

    x (N, T, D) -> y (N, units), the output at the last real step; with output: sequence (N, T, units), 0 where
    steps are padding.  r, z = sigmoid of their part of x W + h U + b;  n = tanh(x W + b + r (h U + b_inner)), of n's
    part;  h' = (1 - z) n + z h.  W (D, 3 units), U (units, 3 units), b (3 units,), gates in the order r, z, n;
    b_inner (units,): PyTorch's weight_ih and weight_hh transposed; b is bias_ih, with bias_hh added for r and z; and
    b_inner is bias_hh for n. bidirectional: a second one, W_reverse..., from the last real step to the first; y is
    twice as wide. init: of W and U; None: glorot_uniform.
    """
    return recurrent(Cell("gru", (0.5, 0.5, 1.0), ("b_inner",), _forward, _start), units, bidirectional, output, init)


def _start(p: Params) -> None:
    p["b"][...] = 0.0
    p["b_inner"][...] = 0.0


def _forward(p: Params, weights: Array, run: Run) -> Back:
    ctx, steps, states = run.ctx, run.steps, run.states
    rows, units = steps.rows, len(weights)
    inner = ctx.buffer("inner" + run.suffix, (rows * steps.times, units))[: steps.count]
    product, scratch = ctx.shared("product", (rows, 3 * units)), ctx.shared("scratch", (rows, units))
    for time in steps.forth:
        count, at, h, after = steps.counts[time], steps.at(time), states[steps.before(time)], states[steps.after(time)]
        gates, by_state, of_n = run.gates[at], np.matmul(h, weights, out=product[:count]), inner[at]
        for part in parts(count, units):
            np.add(by_state[part, 2 * units :], p["b_inner"], out=of_n[part])
            _step(gates[part], by_state[part], of_n[part], scratch)
            _mix(gates[part], h[part], after[part])
    return lambda ending, g: _backward(p, inner, run, ending, g)


def _step(gates: Array, by_state: Array, inner: Array, scratch: Array) -> None:
    """Make gates (N, 3 units) r, z and n, from x W + b, h U, and n's part of the latter with its bias."""
    units = inner.shape[1]
    r, z, n = (gates[:, start : start + units] for start in range(0, 3 * units, units))
    for gate, share in ((r, by_state[:, :units]), (z, by_state[:, units : 2 * units])):
        np.add(gate, share, out=gate)
        np.tanh(gate, out=gate)  # sigmoid(x) = (1 + tanh(x / 2)) / 2
        np.multiply(gate, 0.5, out=gate)
        np.add(gate, 0.5, out=gate)
    np.add(n, np.multiply(r, inner, out=scratch[: len(inner)]), out=n)
    np.tanh(n, out=n)


def _mix(gates: Array, h: Array, states: Array) -> None:
    """Write states <- n + z (h - n)."""
    units = h.shape[1]
    z, n = gates[:, units : 2 * units], gates[:, 2 * units :]
    np.subtract(h, n, out=states)
    np.multiply(states, z, out=states)
    np.add(states, n, out=states)


def _backward(p: Params, inner: Array, run: Run, ending: Ending, g: Params) -> None:
    ctx, steps, units = run.ctx, run.steps, inner.shape[1]
    past, scratch = ctx.shared("past", ending.dh.shape), ctx.shared("scratch", (2, *ending.dh.shape))
    for time in reversed(steps.forth):
        count, at = steps.counts[time], steps.at(time)
        dh = ending.dh[:count]
        if ending.dy is not None:
            np.add(dh, ending.dy[at], out=dh)
        gates, h = run.gates[at], run.states[steps.before(time)]
        for part in parts(count, units):
            np.multiply(dh[part], gates[part, units : 2 * units], out=past[part])
            _step_back(gates[part], inner[at][part], h[part], dh[part], scratch)
        np.matmul(gates, p["U"].T, out=dh)
        np.add(dh, past[:count], out=dh)
    before = steps.all_before(run.states, ctx.shared("before", (steps.rows * steps.times, units)))
    np.matmul(before.T, run.gates, out=g["U"])
    sum_rows(run.gates[:, 2 * units :], g["b_inner"], ctx)
    run.gates[:, 2 * units :] = inner


def _step_back(gates: Array, inner: Array, h: Array, dh: Array, scratch: Array) -> None:
    """Make gates (N, 3 units) the gradients of h U, with b_inner, and inner (N, units) that of n's argument.

    h: the states before the step; dh: the gradient of those after it. scratch: (2, N or more, units).
    """
    units, (dn, slope) = h.shape[1], scratch[:, : len(h)]
    r, z, n = (gates[:, start : start + units] for start in range(0, 3 * units, units))
    np.subtract(1, z, out=slope)
    np.multiply(dh, slope, out=dn)
    np.multiply(slope, z, out=slope)  # z - z^2
    np.multiply(slope, dh, out=slope)
    np.subtract(h, n, out=z)
    np.multiply(z, slope, out=z)
    np.multiply(n, n, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(dn, slope, out=dn)
    np.multiply(dn, r, out=n)
    np.multiply(inner, n, out=inner)
    np.subtract(1, r, out=slope)
    np.multiply(inner, slope, out=r)  # da_n inner r (1 - r)
    np.copyto(inner, dn)
