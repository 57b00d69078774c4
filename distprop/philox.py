"""Counter-based randomness: every draw is a pure function of what it is for.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
Raw Philox words are drawn, never a NumPy distribution: raw words stay the same from one NumPy version to the next.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = 2**64


def bits(seed: int, purpose: int, at: tuple[int, int, int], count: int) -> NDArray[np.uint64]:
    """`count` random 64-bit words for `purpose` at a place such as (step, shard, layer); (count,) uint64.

    Different (seed, purpose, at) give streams that never overlap: `at` fills the upper words of the counter.
    """
    counter: Any = np.array([0, *(word % WORD for word in at)], dtype=np.uint64)
    key: Any = np.array([seed % WORD, purpose % WORD], dtype=np.uint64)
    raw = np.random.Philox(counter=counter, key=key).random_raw(count)
    return np.asarray(raw, dtype=np.uint64)


def uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The words as float64 in [0, 1), from their upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, purpose: int, at: tuple[int, int, int], size: int) -> NDArray[np.intp]:
    """A random order of 0..size-1: the stable argsort of `size` words."""
    return np.argsort(bits(seed, purpose, at, size), kind="stable")
