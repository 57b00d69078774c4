"""Plays tapes: by the compiled loop where there is one, else by NumPy, one operation after the other."""

from collections.abc import Sequence

import numpy as np

from distprop.loops.operations import BINARY, COPY, FILL, SIGN, SQRT
from distprop.loops.tape import SCALAR, Array, Op, Tape

try:
    from distprop.loops import _compiled
except ImportError:  # there was no C compiler where distprop was built: everything works, more slowly
    _compiled = None  # type: ignore[assignment]

MOST = 256
"""Registers of a tape that is compiled: sums of more gradients than anybody has are NumPy's."""


def compiled() -> bool:
    """Whether the compiled loop was built."""
    return _compiled is not None


def play(tape: Tape, vectors: tuple[Array, ...], streamed: bool = False) -> None:
    """Do what a tape says. vectors: those that its registers stand for, (n,) each, contiguous, of one dtype.

    Vectors that the tape keeps have their new values then; others that it writes to may have been written, or not, as
    it suits who plays. No two of them overlap. streamed: new values go past the caches: for what is larger than they
    are. Only float32 is compiled.
    """
    if _compiled is not None and vectors[0].dtype == np.float32 and len(vectors) <= MOST:
        _compiled.play(tape.ops, vectors, tape.kept, streamed)
    else:
        with np.errstate(all="ignore"):  # as the compiled loop: what is not finite is for others to see
            for op in tape.ops:
                _operate(op, vectors)


def _operate(op: Op, vectors: Sequence[Array]) -> None:
    code, out, a = op.code, vectors[op.out], vectors[op.a]
    if code < len(BINARY):
        BINARY[code](a, op.scalar if op.b == SCALAR else vectors[op.b], out=out)
    elif code == SQRT:
        np.sqrt(a, out=out)
    elif code == SIGN:
        np.sign(a, out=out)
    elif code == COPY:
        np.copyto(out, a)
    else:
        assert code == FILL, "the last of them"
        out.fill(op.scalar)
