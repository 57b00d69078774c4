"""Arrow columns from NumPy arrays, with the metadata by which distprop knows them again."""

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SHAPE_KEY = b"shape"


def fixed_list(name: str, values: NDArray[Any]) -> tuple[pa.Field, pa.Array]:
    """A fixed-size list column of values (N, *shape); the shape goes to the field's metadata."""
    shape = values.shape[1:]
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    item = pa.field("element", flat.type, nullable=False)
    array = pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(item, math.prod(shape)))
    return pa.field(name, array.type, nullable=False, metadata={SHAPE_KEY: json.dumps(shape)}), array


def plain(name: str, values: NDArray[Any], classes: Iterable[Any] = ()) -> tuple[pa.Field, pa.Array]:
    """A column of numbers, booleans or strings; `classes` are names kept in the field's metadata."""
    array = pa.array(values)
    names = [str(one) for one in classes]
    return pa.field(name, array.type, metadata={"classes": json.dumps(names)} if names else None), array
