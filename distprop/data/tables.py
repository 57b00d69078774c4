"""Arrow columns from NumPy arrays, with the metadata by which distprop knows them again."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.errors import DataError

SHAPE_KEY = b"shape"
FOLDER_KEY = b"folder"  # in the metadata of a column that the names of folders give


def fixed_list(name: str, values: NDArray[Any], null: NDArray[np.bool_] | None = None) -> tuple[pa.Field, pa.Array]:
    """A fixed-size list column of values (N, *shape); the shape goes to the field's metadata.

    null: which rows (N,) have none; Parquet readers know a null list again only where it may vary in length.
    """
    shape = values.shape[1:]
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if null is not None:
        ends = np.concatenate([[0], np.cumsum(np.where(null, 0, math.prod(shape)))]).astype(np.int32)
        kept = flat.filter(pa.array(np.repeat(~null, math.prod(shape))))
        lists = pa.ListArray.from_arrays(pa.array(ends), kept, mask=pa.array(null))
        return pa.field(name, lists.type, metadata={SHAPE_KEY: json.dumps(shape)}), lists
    item = pa.field("element", flat.type, nullable=False)
    array = pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(item, math.prod(shape)))
    return pa.field(name, array.type, nullable=False, metadata={SHAPE_KEY: json.dumps(shape)}), array


def plain(name: str, values: NDArray[Any], classes: Iterable[Any] = ()) -> tuple[pa.Field, pa.Array]:
    """A column of numbers, booleans or strings; `classes` are names kept in the field's metadata."""
    array = pa.array(values)
    names = [str(one) for one in classes]
    return pa.field(name, array.type, metadata={"classes": json.dumps(names)} if names else None), array


def column_from_array(name: str, values: NDArray[Any]) -> tuple[pa.Field, pa.Array]:
    """Values (N,) as a plain column, (N, *shape) as a fixed-size list. Raises DataError."""
    try:
        return plain(name, values) if values.ndim == 1 else fixed_list(name, values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"column {name!r} cannot be stored ({values.dtype} of shape {values.shape})",
            str(error).splitlines()[0],
            "use numbers, booleans or text, the same kind in every row",
        ) from error


def table_of(columns: Sequence[tuple[pa.Field, pa.Array]], **metadata: str) -> pa.Table:
    """A table of such columns."""
    schema = pa.schema([field for field, _ in columns], metadata=metadata or None)
    return pa.table([array for _, array in columns], schema=schema)
