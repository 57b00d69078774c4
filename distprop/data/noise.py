"""Normally distributed values from random words, quickly and with the same bits wherever they are made."""

from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVELS = 65_536


@lru_cache(maxsize=1)
def _quantiles() -> NDArray[np.float32]:
    """The middle quantiles of LEVELS equal parts of the normal distribution, of standard deviation 1; up to 4.3."""
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse(0.5 + (i + 0.5) / LEVELS) for i in range(LEVELS // 2)])
    both = np.concatenate([-upper[::-1], upper])
    return np.asarray(both / np.sqrt(np.square(both).mean()), dtype=np.float32)


def normal(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Four values of mean 0 and standard deviation 1 from each word, (4 N,): one of 65,536 quantiles for 16 bits."""
    return _quantiles().take(words.astype("<u8", copy=False).view("<u2"))
