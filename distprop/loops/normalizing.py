"""Rows (M, D), normalized where that was compiled: NumPy takes a dozen passes over all of them. And channels' sums.

Where there are K scales, row r has number r modulo K.
"""

import numpy as np

from distprop.loops.tape import Array

try:
    from distprop.loops import _normalizing
except ImportError:  # there was no C compiler where distprop was built
    _normalizing = None  # type: ignore[assignment]

LANES = 16
"""Of a row's sums: value i goes to lane i modulo so many. Then half of them is added to the rest, until one is left."""


def compiled(x: Array) -> bool:
    """Whether these loops are there, and take such rows."""
    return _normalizing is not None and x.dtype == np.float32 and x.flags.c_contiguous


def normalize(
    x: Array, normal: Array, inverse: Array, y: Array, scales: Array, shifts: Array | None, eps: float
) -> None:
    """Write normalized x into normal, which may be x, and normal scale + shift into y.

    x, normal, y (M, D);  inverse (M,): what rows were multiplied by;  scales, shifts (K, D). Without shifts rows keep
    their mean. Sums are made in float64.
    """
    _normalizing.normalize(x, normal, inverse, y, scales, shifts, eps, (*x.shape, len(scales)))


def denormalize(dy: Array, normal: Array, inverse: Array, scales: Array, sums: Array) -> None:
    """Make dx of dy (M, D), in its place, and add to sums, float64 (1 or 2, K, D), those of dy normal and of dy.

    There are two where rows were centered.
    """
    _normalizing.denormalize(dy, normal, inverse, scales, sums, len(sums) == 2, (*dy.shape, len(scales)))


def sum_channels(values: Array, others: Array, off: Array | None, sums: Array, height: int) -> None:
    """Write the sums, over each `height` lines, of values and of their products with others, line by line.

    values, others (L, W);  sums (2, blocks, W). With off (W,) others <- values - off, and the sums are of that and of
    its squares.
    """
    _normalizing.sum_channels(values, others, off, sums, (*values.shape, height))


def mix_channels(
    values: Array, factor: Array, others: Array | None, slope: Array | None, plus: Array, out: Array
) -> None:
    """Write values factor + others slope + plus into out, which may be values; without others two terms of it.

    values, others, out (L, W);  factor, slope, plus (W,).
    """
    _normalizing.mix_channels(values, factor, others, slope, plus, out, values.shape)
