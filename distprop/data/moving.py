"""Rows (N, H, W, C) or (N, L, C) moved about, all of them at once."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Values = NDArray[np.float32]


def flipped(x: Values, axis: int, chosen: NDArray[np.bool_]) -> Values:
    """A copy of x, in which the chosen rows (N,) run backwards along an axis."""
    out = x.copy()
    out[chosen] = np.flip(x[chosen], axis)
    return out


def padded(x: Values, reach: int, fill: str) -> Values:
    """X with `reach` more places at both ends of every axis but the first and the last: zeros, or the edge's values."""
    sizes = x.shape[1:-1]
    out = np.zeros((len(x), *(size + 2 * reach for size in sizes), x.shape[-1]), dtype=x.dtype)
    out[:, *(slice(reach, reach + size) for size in sizes)] = x
    if fill == "edge":
        for axis, size in enumerate(sizes, start=1):
            along = np.moveaxis(out, axis, 0)
            along[:reach], along[reach + size :] = along[reach], along[reach + size - 1]
    return out


def centre(x: Values, sizes: Sequence[int]) -> Values:
    """The middle of every row, `sizes` along the first axes of a row; contiguous."""
    starts = [(there - size) // 2 for there, size in zip(x.shape[1:], sizes, strict=False)]
    return np.ascontiguousarray(x[:, *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))])


def windows(x: Values, starts: NDArray[np.intp], sizes: Sequence[int]) -> Values:
    """Of every row a window (*sizes, C) that begins at its own place, starts (N, axes): a new array.

    One gather: numpy copies whole windows out of a view that has all of them.
    """
    places = [there - size + 1 for there, size in zip(x.shape[1:-1], sizes, strict=True)]
    row, *steps, channel = x.strides
    view = as_strided(
        x, (len(x), *places, *sizes, x.shape[-1]), (row, *steps, *steps, channel), subok=False, writeable=False
    )
    found: Values = view[np.arange(len(x)), *starts.T]
    return found
