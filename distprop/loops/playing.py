"""Plays tapes: by the compiled loop where there is one, else by NumPy, one operation after the other."""

from itertools import pairwise

import numpy as np

from distprop.loops.operations import BINARY, COPY, FILL, SIGN, SQRT, SQUARES
from distprop.loops.squares import square_sum
from distprop.loops.tape import SCALAR, Array, Tape

try:
    from distprop.loops import _compiled
except ImportError:  # there was no C compiler where distprop was built: everything works, more slowly
    _compiled = None  # type: ignore[assignment]

Sums = list[list[float]]

MOST = 256
"""Registers of a tape that is compiled: sums of more gradients than anybody has are NumPy's."""


def compiled() -> bool:
    """Whether the compiled loop was built."""
    return _compiled is not None


def play(tape: Tape, vectors: tuple[Array, ...], stops: tuple[int, ...] = (), streamed: bool = False) -> Sums:
    """Do what a tape says; gives the sums that it asks for, each as a list with a value a block.

    vectors: those that its registers stand for, (n,) each, contiguous, of one dtype. Those that the tape keeps have
    their new values then; others that it writes to may have been written, or not. No two overlap.
    stops: where blocks end, counted from the vectors' start; the last is n. Without them there is one block.
    streamed: new values go past the caches: for what is larger than they are. Only float32 is compiled.
    """
    stops = stops or (vectors[0].size,)
    if _compiled is not None and vectors[0].dtype == np.float32 and len(vectors) <= MOST:
        return _compiled.play(tape.ops, vectors, tape.kept, stops, streamed)
    found: Sums = []
    with np.errstate(all="ignore"):  # as the compiled loop: what is not finite is for others to see
        for code, out, a, b, scalar in tape.ops:
            if code == SQUARES:
                found.append([square_sum(vectors[a][start:stop]) for start, stop in pairwise((0, *stops))])
            else:
                _operate(code, vectors[out], vectors[a], scalar if b == SCALAR else vectors[b])
    return found


def _operate(code: int, out: Array, a: Array, b: Array | float) -> None:
    if code < len(BINARY):
        BINARY[code](a, b, out=out)
    elif code == SQRT:
        np.sqrt(a, out=out)
    elif code == SIGN:
        np.sign(a, out=out)
    elif code == COPY:
        np.copyto(out, a)
    else:
        assert code == FILL, "the last of them"
        out.fill(b)
