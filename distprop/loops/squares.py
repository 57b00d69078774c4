"""Sums of squares that are the same wherever they are made: in float64, in so many lanes, lane by lane."""

import numpy as np

from distprop.loops.tape import Array

LANES = 16
"""Value i of a block is added in lane i modulo so many, and then the lanes are, from the first to the last."""


def square_sum(block: Array) -> float:
    """The sum of squares of n values (n,). Squares of float32 are exact in float64, and leave its range nowhere."""
    whole = block.size // LANES * LANES
    squares = np.square(block, dtype=np.float64)
    lanes = np.add.reduce(squares[:whole].reshape(-1, LANES), axis=0)
    lanes[: block.size - whole] += squares[whole:]
    return float(np.add.accumulate(lanes)[-1])
