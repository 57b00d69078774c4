"""What optimizers are chains of: transforms that turn a gradient, step by step, into an update.

All are elementwise: the numbers of one parameter depend on that parameter's numbers and on the moment alone, so any
slice of a vector gets the bits that it gets within the whole.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from distprop.loops.tape import Register, Tape
from distprop.optim.vectors import Array

State = Mapping[str, Array]
"""One vector (n,) for each of a transform's names."""

ACCUMULATED, AVERAGE = "accumulated", "average"
"""The state of `accumulate`, and the moving average of the weights."""


class Moment(NamedTuple):
    """When an update happens, and what is the same for all values that it is about.

    step: how often the weights were changed before; 0 where nothing depends on it.  rate: the learning rate, with all
    factors in it.  decay: factor of weight decay.  trust: factor of a layer's update (lars, lamb).  holds: the gradient
    is only added to those of other steps; the weights stay.
    """

    step: int
    rate: float
    decay: float = 1.0
    trust: float = 1.0
    holds: bool = False


class Run(NamedTuple):
    """n consecutive values of everything that an update reads and writes.

    u: the gradient, used up.  w: weights, only read.  old: the state of the last version, only read; new: that of the
    next, written.  scratch: uninitialized memory, where the next weights will be.  All (n,), of one dtype.
    """

    u: Array
    w: Array
    old: State
    new: State
    scratch: Array


class Names(NamedTuple):
    """A tape's registers for the vectors of a run; u is rewritten until it is the update."""

    u: Register
    w: Register
    old: Mapping[str, Register]
    new: Mapping[str, Register]
    scratch: Register


class Transform(NamedTuple):
    """One step from gradient to update, put on a tape.

    state: the vectors that it carries along; all start at 0.  counts: whether it depends on the moment's step.
    """

    state: tuple[str, ...]
    record: Callable[[Tape, Names, Moment], None]
    counts: bool = False


def scale_by_rate() -> Transform:
    """Make u <- rate u."""

    def record(tape: Tape, run: Names, at: Moment) -> None:
        tape.multiply(run.u, at.rate, out=run.u)

    return Transform((), record)


def scale_by_trust() -> Transform:
    """Make u <- trust u: the layer's own factor, made of norms that all of the layer went into."""

    def record(tape: Tape, run: Names, at: Moment) -> None:
        tape.multiply(run.u, at.trust, out=run.u)

    return Transform((), record)


def clip_values(limit: float) -> Transform:
    """Make u <- what of it lies within [-limit, limit]; NaN stays NaN."""

    def record(tape: Tape, run: Names, at: Moment) -> None:  # noqa: ARG001 - the same at any step
        tape.minimum(run.u, limit, out=run.u)
        tape.maximum(run.u, -limit, out=run.u)

    return Transform((), record)


def accumulate(steps: int) -> Transform:
    """Add up the gradients of `steps` steps; in the last of them u <- their mean, and the sum is 0 again."""

    def record(tape: Tape, run: Names, at: Moment) -> None:
        total = run.new[ACCUMULATED]
        tape.add(run.old[ACCUMULATED], run.u, out=total)
        if not at.holds:
            tape.divide(total, steps, out=run.u)
            tape.fill(0.0, out=total)

    return Transform((ACCUMULATED,), record)


def add_weight_decay(decay: float) -> Transform:
    """Make u <- u + decay w. Before Adam it is the gradient of an L2 penalty, behind it decoupled decay."""

    def record(tape: Tape, run: Names, at: Moment) -> None:
        if not at.decay:
            return
        tape.multiply(run.w, decay * at.decay, out=run.scratch)
        tape.add(run.u, run.scratch, out=run.u)

    return Transform((), record)


def scale_by_momentum(momentum: float, nesterov: bool = False) -> Transform:
    """Make m <- momentum m + u; u <- m, or with nesterov u + momentum m (Sutskever et al. 2013, ICML), as PyTorch."""

    def record(tape: Tape, run: Names, at: Moment) -> None:  # noqa: ARG001 - the same at any step
        m = run.new["momentum"]
        tape.multiply(run.old["momentum"], momentum, out=run.scratch)
        tape.add(run.scratch, run.u, out=m)
        if nesterov:
            tape.multiply(m, momentum, out=run.scratch)
            tape.add(run.u, run.scratch, out=run.u)
        else:
            tape.copy(m, out=run.u)

    return Transform(("momentum",), record)


def scale_by_adam(b1: float, b2: float, eps: float) -> Transform:
    """Make u <- m / (sqrt(v) + eps), with m and v the bias-corrected running means of u and u^2.

    Kept are the fading sums g = b1 g + u and s = b2 s + u^2, which take two passes less than running means. With
    t = step + 1, m is (1 - b1) / (1 - b1^t) g, and v likewise.
    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; eps as there and in PyTorch outside the root.
    """

    def record(tape: Tape, run: Names, at: Moment) -> None:
        u, g, s = run.u, run.new["gradients"], run.new["squares"]
        tape.multiply(run.old["gradients"], b1, out=g)
        tape.add(g, u, out=g)
        tape.multiply(u, u, out=u)
        tape.multiply(run.old["squares"], b2, out=s)
        tape.add(s, u, out=s)
        tape.sqrt(s, out=u)
        done = at.step + 1
        first, root = (1.0 - b1) / (1.0 - b1**done), math.sqrt((1.0 - b2) / (1.0 - b2**done))
        # first g / (root sqrt(s) + eps), with the scalars drawn together
        tape.multiply(u, root / first, out=u)
        tape.add(u, eps / first, out=u)
        tape.divide(g, u, out=u)

    return Transform(("gradients", "squares"), record, counts=True)


def scale_by_rms(alpha: float, eps: float) -> Transform:
    """Make u <- u / (sqrt(v) + eps), with v the running mean of u^2 (Tieleman & Hinton 2012, Coursera), as PyTorch."""

    def record(tape: Tape, run: Names, at: Moment) -> None:  # noqa: ARG001 - the same at any step
        v = run.new["square"]
        tape.multiply(run.u, run.u, out=run.scratch)
        tape.multiply(run.scratch, 1.0 - alpha, out=run.scratch)
        tape.multiply(run.old["square"], alpha, out=v)
        tape.add(v, run.scratch, out=v)
        _divide_by_root(tape, run, v, eps)

    return Transform(("square",), record)


def scale_by_adagrad(eps: float) -> Transform:
    """Make u <- u / (sqrt(s) + eps), with s the sum of all u^2 so far (Duchi et al. 2011, JMLR), as PyTorch."""

    def record(tape: Tape, run: Names, at: Moment) -> None:  # noqa: ARG001
        s = run.new["squares"]
        tape.multiply(run.u, run.u, out=run.scratch)
        tape.add(run.old["squares"], run.scratch, out=s)
        _divide_by_root(tape, run, s, eps)

    return Transform(("squares",), record)


def scale_by_lion(b1: float, b2: float) -> Transform:
    """Make u <- sign(b1 m + (1 - b1) u), then m <- b2 m + (1 - b2) u with u as it was.

    Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    def record(tape: Tape, run: Names, at: Moment) -> None:  # noqa: ARG001
        u, old, m = run.u, run.old["mean"], run.new["mean"]
        tape.multiply(u, 1.0 - b2, out=run.scratch)
        tape.multiply(old, b2, out=m)
        tape.add(m, run.scratch, out=m)
        tape.multiply(u, 1.0 - b1, out=u)
        tape.multiply(old, b1, out=run.scratch)
        tape.add(u, run.scratch, out=u)
        tape.sign(u, out=u)

    return Transform(("mean",), record)


def _divide_by_root(tape: Tape, run: Names, squares: Register, eps: float) -> None:
    tape.sqrt(squares, out=run.scratch)
    tape.add(run.scratch, eps, out=run.scratch)
    tape.divide(run.u, run.scratch, out=run.u)
