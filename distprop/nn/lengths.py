"""How many of a row's time steps are real, where rows are padded at their ends. It travels beside the rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.intp]


@dataclass(slots=True)
class Lengths:
    """Of the rows in one forward pass: set by `mask` and `embedding`, read by layers that look along time.

    values: (N,), from 0 to the number of time steps; None: all steps of all rows are real. Only read.
    """

    values: Counts | None = None

    def of(self, rows: slice) -> "Lengths":
        """Those of some of the rows."""
        return Lengths(None if self.values is None else self.values[rows])


def count_real(real: NDArray[np.bool_], out: Counts) -> Counts:
    """One more than the last place that is real (N, T), or 0 where none is, into out (N,)."""
    times = real.shape[1]
    np.argmax(real[:, ::-1], axis=1, out=out)
    np.subtract(times, out, out=out)
    np.multiply(out, real.any(axis=1), out=out)
    return out
