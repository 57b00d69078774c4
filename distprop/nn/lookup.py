"""Rows of a table by their ids: taken out, and added up in a fixed order."""

import numpy as np

from distprop.errors import DataError
from distprop.nn.arrays import Array
from distprop.nn.layer import Context
from distprop.nn.rows import Ids


def to_ids(x: Array, count: int, name: str, ctx: Context) -> Ids:
    """X (...) as whole numbers (M,), the layer's own. Raises DataError unless all are from 0 to count - 1."""
    values = x.reshape(-1)
    ids = ctx.buffer("ids", values.shape, np.int64)
    with np.errstate(invalid="ignore"):  # NaN and infinity are no ids, and are found below
        np.copyto(ids, values, casting="unsafe")
    back = ctx.shared("back", values.shape, values.dtype)
    np.copyto(back, ids, casting="unsafe")
    same = np.equal(back, values, out=ctx.shared("same", values.shape, np.bool_))
    if not same.all() or (ids.size and (ids.min() < 0 or ids.max() >= count)):
        wrong = values[~same | (ids < 0) | (ids >= count)][0]
        raise DataError(
            f"{name} was given the id {wrong:g}",
            f"ids are whole numbers from 0 to {count - 1}, as `rows` is {count}",
            "let `rows` be the largest id and one more, and look for what else is in that column",
        )
    return ids


def take_rows(table: Array, ids: Ids, out: Array) -> Array:
    """Write table (V, k) rows of ids (M,) into out (M, k)."""
    return np.take(table, ids, axis=0, out=out, mode="clip")  # "raise" would make a copy of out


def sum_by_id(ids: Ids, values: Array, ctx: Context) -> tuple[Ids, Array]:
    """(the U different ids in order, (U,); the sum of the values (M, k) of each, (U, k)), in memory of the pass.

    Law: values of an id are added in the order of their places, whatever else there is.
    """
    if not ids.size:
        return ids, values
    ordered, places = _sort(ids, ctx)
    together = np.take(values, places, axis=0, out=ctx.shared("together", values.shape), mode="clip")
    new = ctx.shared("new", ids.shape, np.bool_)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    starts = ctx.shared("starts", ids.shape, np.int64)[: np.count_nonzero(new)]
    np.compress(new, _count(places), out=starts)
    sums = ctx.shared("sums", values.shape)[: len(starts)]
    np.add.reduceat(together, starts, axis=0, out=sums)
    found = ctx.shared("found", ids.shape, np.int64)[: len(starts)]
    return np.take(ordered, starts, out=found, mode="clip"), sums


def _sort(ids: Ids, ctx: Context) -> tuple[Ids, Ids]:
    """Ids in order and where they were; equal ones by place. In place: each is one number, the id before the place."""
    bits = len(ids).bit_length()
    places = _count(ctx.shared("places", ids.shape, np.int64))
    keys = np.left_shift(ids, bits, out=ctx.shared("keys", ids.shape, np.int64))
    np.bitwise_or(keys, places, out=keys)
    keys.sort()
    np.bitwise_and(keys, (1 << bits) - 1, out=places)
    return np.right_shift(keys, bits, out=keys), places


def _count(out: Ids) -> Ids:
    """0, 1, 2, ... into out (M,), without memory of its own as np.arange has it."""
    out.fill(1)
    np.cumsum(out, out=out)
    return np.subtract(out, 1, out=out)
