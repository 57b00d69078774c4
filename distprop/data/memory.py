"""Rows that the user has in memory already: written to a Parquet file, and then read as any other data."""

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


def from_memory(data: Any, folder: str | Path, target: str, name: str = "train") -> str:
    """Write rows to folder/name.parquet and return that path. Raises DataError.

    data: (X, y), where X (N, *shape) becomes the column "x" and y the column `target`; a mapping of column -> array
    (N,) or (N, *shape); a pa.Table or RecordBatch; a pandas-like frame.
    """
    table = _table(data, target)
    if not table.num_rows:
        raise DataError(f"the {name} data has no rows", "it is empty", "give at least one row a shard")
    path = Path(folder) / f"{name}.parquet"
    write_whole(path, lambda part: pq.write_table(table, part, row_group_size=ROWS_PER_GROUP))
    return str(path)


def _table(data: Any, target: str) -> pa.Table:
    if isinstance(data, tuple) and len(data) == 2:
        x, y = data
        columns = {INPUT: x} if not hasattr(x, "columns") else {name: x[name] for name in x.columns}
        return _from_columns({**columns, target: _single(y)})
    if isinstance(data, Mapping):
        return _from_columns(data)
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        return _from_columns(
            {name: [row.get(name) for row in data] for name in dict.fromkeys(n for row in data for n in row)}
        )
    try:
        return _with_fixed_lists(as_table(data))
    except (pa.ArrowException, AttributeError, TypeError) as error:
        raise DataError(
            f"cannot train on a {type(data).__name__}",
            str(error).splitlines()[0],
            "give (X, y), a mapping of column -> array, an Arrow table, or a pandas or polars frame",
        ) from error


def _single(y: Any) -> Any:
    """Y of shape (N, 1), as scikit-learn's users have it, as (N,)."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    return np.asarray(y).reshape(-1) if len(shape) == 2 and shape[1] == 1 else y


def _from_columns(columns: Mapping[str, Any]) -> pa.Table:
    arrays = {name: _array(values) for name, values in columns.items()}
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
