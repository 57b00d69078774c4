"""The receipt: proof that an epoch saw each row once.

A row's hash is 128 bits of its position in the data and of the bytes of its columns as they were taken for the leaf.
The receipt of some rows is the sum of their hashes modulo 2^128: it does not depend on their order, and a row dropped,
doubled or altered changes it. Hash: multilinear over 64-bit lanes (Carter and Wegman 1979), finished with the mixer of
splitmix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators").
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.stacking import Columns

MODULUS = 2**128
LIMBS = 4  # of 32 bits each
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def receipt_of(positions: NDArray[np.int64], columns: Sequence[NDArray[Any]] | Columns) -> int:
    """Sum of the row hashes modulo 2^128. positions (N,); columns (N,) or (N, width) of any number type."""
    hashes = row_hashes(positions, columns)
    low, high = _sum(hashes[:, 0]), _sum(hashes[:, 1])
    return (low + (high << 64)) % MODULUS


def row_hashes(positions: NDArray[np.int64], columns: Sequence[NDArray[Any]] | Columns) -> NDArray[np.uint64]:
    """128 bits a row, (N, 2) uint64; the same for columns in a matrix as for columns by themselves."""
    sums = np.zeros((len(positions), 2), dtype=np.uint64)
    if isinstance(columns, Columns):
        for lanes, starts in _lanes_of_blocks(columns):
            sums += lanes @ _keys(starts)
    else:
        start = 0
        for column in columns:
            lanes = _lanes(column)
            sums += lanes @ _keys(range(start, start + lanes.shape[1]))
            start += lanes.shape[1]
    place = positions.astype(np.uint64)[:, None] + np.array([1, 2**62 + 1], dtype=np.uint64)
    return mix(sums + mix(place))


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64, elementwise: one changed bit changes about half of the result's."""
    words = words * GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _lanes(column: NDArray[Any]) -> NDArray[np.uint64]:
    """The bytes of each row as 64-bit lanes (N, lanes), filled up with zeros."""
    rows = np.ascontiguousarray(column[:, None] if column.ndim == 1 else column).view(np.uint8)
    missing = -rows.shape[1] % 8
    if missing:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    lanes = rows.view(np.uint64)
    # The top bit of a lane times an odd key stays a top bit, so two sign flips would cancel: bring it down
    # first.
    return lanes ^ (lanes >> np.uint64(32))


def _lanes_of_blocks(columns: Columns) -> Iterator[tuple[NDArray[np.uint64], Sequence[int]]]:
    """The lanes of each block, and their numbers if columns are counted one after the other."""
    stacked: dict[int, list[int]] = {}
    number = 0
    for block, at in columns.places.values():
        if at is not None:
            stacked.setdefault(block, []).append(number)
            number += 1
        else:
            lanes = _lanes(columns.blocks[block])
            yield lanes, range(number, number + lanes.shape[1])
            number += lanes.shape[1]
    for block, numbers in stacked.items():
        yield _lanes_of_numbers(columns.blocks[block]), tuple(numbers)


def _lanes_of_numbers(matrix: NDArray[Any]) -> NDArray[np.uint64]:
    """As `_lanes` of each column by itself: a lane each, filled up with zeros."""
    words = np.ascontiguousarray(matrix).view(f"<u{matrix.itemsize}").astype(np.uint64)
    return words ^ (words >> np.uint64(32))


@lru_cache(maxsize=64)
def _keys(lanes: Sequence[int]) -> NDArray[np.uint64]:
    """Two odd keys for each lane by its number, (count, 2). lanes: a range, which is quickly looked up, or a tuple."""
    numbers = 2 * np.array(lanes, dtype=np.uint64)[:, None] + np.array([0, 1], dtype=np.uint64)
    return mix(numbers + np.uint64(2**63)) | np.uint64(1)


def _sum(words: NDArray[np.uint64]) -> int:
    """Exact sum as a Python int: the halves add up without overflow for less than 2^32 rows."""
    low = int((words & np.uint64(0xFFFFFFFF)).sum())
    return low + (int((words >> np.uint64(32)).sum()) << 32)


def receipt_to_limbs(receipt: int) -> NDArray[np.float64]:
    """Four 32-bit limbs, lowest first, (4,); float64 adds up to 2^21 of them exactly, as tails do."""
    return np.frombuffer(receipt.to_bytes(4 * LIMBS, "little"), "<u4").astype(np.float64)


def limbs_to_receipt(limbs: NDArray[np.float64]) -> int:
    """The receipt whose limbs, or sums of limbs, these are; modulo 2^128."""
    first, second, third, fourth = map(int, limbs.tolist())
    return (first + (second << 32) + (third << 64) + (fourth << 96)) % MODULUS
