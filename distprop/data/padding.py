"""Lists of varying length brought to one length: cut where they are longer, filled up where they are shorter."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Column
from distprop.errors import DataError

EXACT = 2**24  # whole numbers up to here are exact in float32


def pad_rows(column: Column, values: NDArray[Any], sizes: NDArray[np.int64], place: str) -> NDArray[Any]:
    """Raw values (N, width) of a padded column; `values` are those of all rows in one run, `sizes` (N,) how many each.

    Raises DataError, naming the row of `place`, for codes that float32 cannot hold and for rows that do not come out
    even.
    """
    assert column.padding is not None
    length, each = column.shape[0], math.prod(column.shape[1:])
    _check(column, values, sizes, each, place)
    counts, ends = sizes // each, np.cumsum(sizes) // each
    kept = np.minimum(counts, length)
    starts = ends - (kept if column.padding.keep == "last" else counts)
    out = np.full((len(sizes), length, each), column.padding.value, dtype=values.dtype)
    there = np.arange(length) < kept[:, None]
    out[there] = values.reshape(-1, each)[(starts[:, None] + np.arange(length))[there]]
    return out.reshape(len(sizes), length * each)


def _check(column: Column, values: NDArray[Any], sizes: NDArray[np.int64], each: int, place: str) -> None:
    uneven = np.flatnonzero(sizes % each)
    if uneven.size:
        raise DataError(
            f"column {column.name!r} has {sizes[uneven[0]]} values in row {uneven[0]} of {place}",
            f"its lists have elements of shape {column.shape[1:]}, {each} values each",
            "correct the row",
        )
    if values.dtype.kind not in "iu" or not values.size or max(int(values.max()), -int(values.min())) <= EXACT:
        return
    at = int(np.flatnonzero(np.maximum(values, -values.astype(np.float64)) > EXACT)[0])
    row = int(np.searchsorted(np.cumsum(sizes), at, side="right"))
    raise DataError(
        f"column {column.name!r} has {values[at]} in row {row} of {place}",
        f"a network's numbers are float32, where whole numbers are exact up to {EXACT:,}",
        "give the codes smaller numbers, or store amounts as floats",
    )


def pad_given(column: Column, rows: Sequence[Any]) -> NDArray[Any]:
    """Raw values (N, width) of the lists, arrays or nested lists that a user predicts on. Raises DataError."""
    try:
        flat = [np.asarray(row).reshape(-1) for row in rows]
        values = np.concatenate(flat) if flat else np.empty(0)
        if values.dtype.kind not in "biuf":
            raise ValueError(f"they hold {values.dtype}")
    except ValueError as error:
        raise DataError(f"column {column.name!r} has lists that are no numbers", str(error), "give numbers") from error
    sizes = np.array([len(row) for row in flat], dtype=np.int64)
    return pad_rows(column, values.astype(np.uint8) if values.dtype == bool else values, sizes, "the data given")
