"""Numbers to try kernels with: which sums a kernel computes depends on shapes, not on values, so one trial tells."""

import numpy as np

from distprop import philox
from distprop.nn.arrays import Array

TRIAL_PURPOSE = 7  # the purpose of these random words, see philox.bits


def trial_numbers(shape: tuple[int, int], number: int = 0) -> Array:
    """Numbers of both signs and of many magnitudes, float64, the same everywhere; others for another number."""
    draws = philox.uniform(philox.bits(0, TRIAL_PURPOSE, (number, 0, 0), shape[0] * shape[1]))
    return np.tan(3.0 * draws - 1.5).reshape(shape)
