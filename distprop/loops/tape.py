"""Tapes: elementwise operations on registers, recorded in order.

A register stands for a vector. An operation is one of NumPy's, rounded as NumPy rounds it: whoever plays a tape, and in
pieces of whatever size, gets the same bits.
"""

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from distprop.loops.operations import ADD, COPY, DIVIDE, FILL, MAXIMUM, MINIMUM, MULTIPLY, SIGN, SQRT, SQUARES, SUBTRACT

Array = NDArray[Any]

SCALAR = -1
"""In place of a second register: the operation takes `scalar`."""


class Register(int):
    """The number of a register; a type of its own, so that none is taken for a scalar."""


Op = tuple[int, int, int, int, float]
"""(code, out, a, b, scalar): out <- code(a, b), or where b is SCALAR, code(a, scalar)."""


class Tape:
    """What is to be done, in the words of NumPy's functions. Second operands are registers or scalars.

    kept: the registers whose values are wanted when all is done. Beside them a tape gives sums: see `squares`.
    """

    def __init__(self, kept: Iterable[Register]) -> None:
        self.ops: list[Op] = []
        self.kept = 0  # bit by bit
        for register in kept:
            self.kept |= 1 << register

    def add(self, a: Register, b: Register | float, out: Register) -> None:
        """Make out <- a + b."""
        self._binary(ADD, a, b, out)

    def subtract(self, a: Register, b: Register | float, out: Register) -> None:
        """Make out <- a - b."""
        self._binary(SUBTRACT, a, b, out)

    def multiply(self, a: Register, b: Register | float, out: Register) -> None:
        """Make out <- a b."""
        self._binary(MULTIPLY, a, b, out)

    def divide(self, a: Register, b: Register | float, out: Register) -> None:
        """Make out <- a / b."""
        self._binary(DIVIDE, a, b, out)

    def minimum(self, a: Register, limit: float, out: Register) -> None:
        """Make out <- a or the limit, whichever is less; NaN stays NaN."""
        self._binary(MINIMUM, a, limit, out)

    def maximum(self, a: Register, limit: float, out: Register) -> None:
        """Make out <- a or the limit, whichever is more; NaN stays NaN."""
        self._binary(MAXIMUM, a, limit, out)

    def sqrt(self, a: Register, out: Register) -> None:
        """Make out <- the square root of a; NaN where a < 0."""
        self.ops.append((SQRT, out, a, SCALAR, 0.0))

    def sign(self, a: Register, out: Register) -> None:
        """Make out <- -1, 0 or 1; NaN stays NaN."""
        self.ops.append((SIGN, out, a, SCALAR, 0.0))

    def copy(self, a: Register, out: Register) -> None:
        """Make out <- a."""
        self.ops.append((COPY, out, a, SCALAR, 0.0))

    def fill(self, value: float, out: Register) -> None:
        """Make out <- the value."""
        self.ops.append((FILL, out, out, SCALAR, value))

    def squares(self, a: Register) -> None:
        """Tell the sum of a's squares, block by block, as it is now."""
        self.ops.append((SQUARES, a, a, SCALAR, 0.0))

    def _binary(self, code: int, a: Register, b: Register | float, out: Register) -> None:
        if isinstance(b, Register):
            self.ops.append((code, out, a, b, 0.0))
        else:
            self.ops.append((code, out, a, SCALAR, float(b)))
