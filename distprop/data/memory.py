"""Rows that the user has in memory already: written to a Parquet file, and then read as any other data."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distprop.data.cachedir import write_whole
from distprop.data.decoding import as_table
from distprop.data.tables import column_from_array, table_of
from distprop.errors import DataError

INPUT = "x"  # the column that X of (X, y) becomes
ROWS_PER_GROUP = 4_096
MOST_DENSE = 4 * 2**30  # bytes of a sparse X with its zeros


def from_memory(data: Any, folder: str | Path, target: str, name: str = "train", weight: str | None = None) -> str:
    """Write rows to folder/name.parquet and return that path. Raises DataError.

    data: (X, y) or (X, y, sample_weight), where X (N, *shape) becomes the column "x", or a table's columns their own
    names, y the column `target`, and sample_weight the column `weight`; a mapping of column -> array (N,) or
    (N, *shape); a list of rows as mappings; a pa.Table or RecordBatch; a pandas-like frame. X may be sparse, as SciPy
    has it: it is written densely. weight: where (X, y) has none, each row weighs 1.
    """
    table = _table(data, target, weight)
    if not table.num_rows:
        raise DataError(f"the {name} data has no rows", "it is empty", "give at least one row a shard")
    path = Path(folder) / f"{name}.parquet"
    write_whole(path, lambda part: pq.write_table(table, part, row_group_size=ROWS_PER_GROUP))
    return str(path)


def has_weights(data: Any) -> bool:
    """Whether rows in memory are (X, y, sample_weight)."""
    return isinstance(data, tuple) and len(data) == 3


def is_rows(data: Any) -> bool:
    """Whether it is a whole split by itself, and no single column of one."""
    pair = isinstance(data, tuple) and len(data) in (2, 3) and all(map(_is_sized, data))
    return pair or isinstance(data, Mapping) or hasattr(data, "columns")


def _is_sized(part: Any) -> bool:
    return not isinstance(part, str) and (hasattr(part, "shape") or hasattr(part, "__len__"))


def _table(data: Any, target: str, weight: str | None) -> pa.Table:
    if isinstance(data, tuple) and len(data) in (2, 3):
        return _from_columns(_of_pair(data[0], data[1], data[2] if len(data) == 3 else None, target, weight))
    if isinstance(data, Mapping):
        return _from_columns(data)
    if _is_list_of_rows(data):
        return _from_columns(_by_name(data))
    try:
        return _with_fixed_lists(as_table(data))
    except (pa.ArrowException, AttributeError, TypeError, DataError) as error:
        what = f"{type(data).__name__} of {len(data)}" if isinstance(data, tuple | list) else type(data).__name__
        raise DataError(
            f"cannot train on a {what}",
            error.why if isinstance(error, DataError) else str(error).splitlines()[0],
            "give (X, y) or (X, y, sample_weight) as a tuple, a mapping of column -> array, a list of rows as "
            "mappings, an Arrow table, or a pandas or polars frame",
        ) from error


def _of_pair(x: Any, y: Any, weights: Any, target: str, weight: str | None) -> dict[str, Any]:
    columns = _columns_of(x)
    added = {target: _single(y), **({weight: _weights(weights, y)} if weight else {})}
    for name in added:
        if name in columns:
            raise DataError(
                f"X has a column {name!r}, and {'y' if name == target else 'sample_weight'} is to be it",
                f"`data.{'target' if name == target else 'weight'}` names it",
                "take it out of X, or give the table by itself, without y",
            )
    return {**columns, **added}


def _columns_of(x: Any) -> dict[str, Any]:
    if isinstance(x, Mapping):
        return dict(x)
    if _is_list_of_rows(x):
        return _by_name(x)
    if isinstance(x, pa.Table | pa.RecordBatch):
        return {name: x.column(name) for name in x.schema.names}
    return {name: x[name] for name in x.columns} if hasattr(x, "columns") else {INPUT: _dense(x)}


def _is_list_of_rows(data: Any) -> bool:
    return isinstance(data, list) and bool(data) and all(isinstance(row, Mapping) for row in data)


def _by_name(rows: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def _dense(x: Any) -> Any:
    """SciPy's sparse rows as an array: a layer computes with all values. Raises DataError where they are too many."""
    if not (hasattr(x, "toarray") and hasattr(x, "nnz")):
        return x
    size = math.prod(x.shape) * x.dtype.itemsize
    if size > MOST_DENSE:
        raise DataError(
            f"X is sparse, of shape {x.shape}: with its zeros it takes {size / 1e9:,.1f} GB",
            f"sparse rows are written densely, up to {MOST_DENSE / 1e9:,.1f} GB at once",
            "give fewer columns (such as scikit-learn's TruncatedSVD makes), write Parquet files block by block, or "
            "give each row its ids as a list, for an `embedding`",
        )
    return x.toarray()


def _weights(weights: Any, y: Any) -> Any:
    return np.ones(len(np.asarray(y))) if weights is None else _single(weights)


def _single(y: Any) -> Any:
    """Y of shape (N, 1), as scikit-learn's users have it, as (N,)."""
    y = _array(y) if isinstance(y, list) else _dense(y)
    shape: tuple[int, ...] = getattr(y, "shape", ())
    return np.asarray(y).reshape(-1) if len(shape) == 2 and shape[1] == 1 else y


def _from_columns(columns: Mapping[str, Any]) -> pa.Table:
    arrays = {name: _array(values) for name, values in columns.items()}
    for name, array in arrays.items():
        if array.ndim == 0:
            raise DataError(
                f"column {name!r} is a single {type(columns[name]).__name__}",
                "a column has a value for each row",
                "give an array or a list of values",
            )
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(
            "the columns have different numbers of rows",
            ", ".join(f"{name} has {size}" for name, size in sizes.items()),
            "give every column the same number",
        )
    return table_of([column_from_array(str(name), array) for name, array in arrays.items()])


def _array(values: Any) -> NDArray[Any]:
    """Values as an array; lists of varying length as an array of arrays."""
    try:
        return np.asarray(values)
    except ValueError:
        rows = np.empty(len(values), dtype=object)
        rows[:] = [np.asarray(row) for row in values]
        return rows


def _with_fixed_lists(table: pa.Table) -> pa.Table:
    """Lists that are all equally long become fixed-size lists, as frames cannot say so themselves."""
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            values = table.column(i).to_pylist()
            if values and all(value is not None and len(value) == len(values[0]) for value in values):
                table = table.set_column(i, *column_from_array(field.name, np.array(values)))
    return table
