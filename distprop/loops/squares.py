"""Sums of squares that are the same wherever they are made: in float64, in so many lanes, lane by lane."""

import numpy as np

from distprop.loops.tape import Array

LANES = 16
"""Value i of a block is added in lane i modulo so many, and then the lanes are, from the first to the last."""

ROWS = 256
"""Squares of so many lanes at once: 32 kB."""


def square_sum(block: Array) -> float:
    """The sum of squares of n values (n,). Squares of float32 are exact in float64, and leave its range nowhere."""
    rows = np.zeros((1 + ROWS, LANES))  # the first are the lanes so far
    for start in range(0, block.size, ROWS * LANES):
        values = block[start : start + ROWS * LANES]
        whole = values.size // LANES
        squares = rows[1 : 1 + whole]
        np.copyto(squares, values[: whole * LANES].reshape(-1, LANES))
        np.square(squares, out=squares)
        lanes = np.add.reduce(rows[: 1 + whole], axis=0)
        lanes[: values.size - whole * LANES] += np.square(values[whole * LANES :], dtype=np.float64)
        rows[0] = lanes
    return float(np.add.accumulate(rows[0])[-1])
