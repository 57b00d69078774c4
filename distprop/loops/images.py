"""Loops over images (N, H, W, C), where they were compiled: copies and comparisons that NumPy makes in many passes."""

import numpy as np

from distprop.loops.tape import Array

try:
    from distprop.loops import _images
except ImportError:  # there was no C compiler where distprop was built
    _images = None  # type: ignore[assignment]

Pair = tuple[int, int]
"""Down and across."""

MOST_TAPS = 127
"""Places of a window whose numbers a winner can be."""


def compiled(x: Array) -> bool:
    """Whether these loops are there, and take such images."""
    return _images is not None and x.dtype == np.float32 and x.flags.c_contiguous


def largest(x: Array, y: Array, winner: Array, size: Pair) -> None:
    """Write the largest value under each of the windows that lie side by side, and its tap's number.

    x (N, H, W, C) -> y and winner (N, H / size, W / size, C), winner of int8. Of equal values the first counts; NaN is
    larger than any other; 0 is never -0.
    """
    _images.largest(x, y, winner, x.shape, size)


def share(dy: Array, winner: Array, dx: Array, size: Pair) -> None:
    """Write dx (N, H, W, C): dy times 1 where a value was the largest, times 0 elsewhere, and 0 under no window."""
    _images.share(dy, winner, dx, dx.shape, size)


def gather(x: Array, patches: Array, size: Pair, stride: Pair, dilation: Pair, before: Pair) -> None:
    """Write patches (N, H', W', down, across, C): what lies under a window at each place, and zeros for padding.

    before: values of padding that precede the images, above and to the left.
    """
    _images.gather(x, patches, x.shape, size, stride, dilation, before, patches.shape[1:3])


def planes(x: Array, patches: Array, size: Pair, stride: Pair, dilation: Pair, before: Pair) -> None:
    """As `gather`, with places last: patches (down, across, C, N, H', W')."""
    _images.planes(x, patches, x.shape, size, stride, dilation, before, patches.shape[4:])
