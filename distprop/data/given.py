"""What a person hands to `predict` (an array, a mapping, a frame, an Arrow table) as raw values of its columns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Column, Raw, text_digests
from distprop.data.input_check import GIVEN, check_names, check_shape, kind_error
from distprop.data.padding import pad_given
from distprop.errors import DataError

MISSING = ("NAType", "NaTType")  # pandas' own, known by name: pandas need not be there


@dataclass(frozen=True)
class Given:
    """Raw values by column; `values`: the columns as they were given, to name a bad one."""

    raw: Raw
    values: Mapping[str, Any]

    def place(self, row: int) -> str:
        """A row in words."""
        return f"{row} of {GIVEN}"

    def cell(self, column: str, row: int) -> Any:
        """What stands there."""
        value = self.values[column][row]
        return value.as_py() if hasattr(value, "as_py") else value


def read_given(columns: Sequence[Column], data: Any) -> Given:
    """The model's columns of what a person gives. Raises DataError for what is no table, or has other columns.

    data: one array or list, of the only column's values (N, *shape) or (N, D) of single-number columns in order; a
    mapping of column -> values; a list of such rows; a pa.Table, RecordBatch or any frame that Arrow can read
    (pandas, polars).
    """
    if hasattr(data, "toarray") and hasattr(data, "nnz"):  # sparse, as SciPy has it
        data = data.toarray()
    if isinstance(data, list) and data and isinstance(data[0], Mapping):
        return _from_values(columns, _by_name(columns, data))
    if isinstance(data, np.ndarray | list):
        return _from_values(columns, _by_place(columns, data))
    if isinstance(data, Mapping):
        check_names(columns, list(data))
        return _from_values(columns, {column.name: data[column.name] for column in columns})
    if hasattr(data, "to_numpy") and not hasattr(data, "columns"):  # a column by itself, of pandas, polars or Arrow
        return _from_values(columns, _by_place(columns, np.asarray(data)))
    return _from_table(columns, data)


def _from_table(columns: Sequence[Column], data: Any) -> Given:
    """Needs pyarrow, which is imported where Arrow or frames come in only."""
    from distprop.data.decoding import UnreadableError, raw_from_table

    try:
        raw, table = raw_from_table(columns, data)
    except UnreadableError:
        if not type(data).__module__.startswith("pandas"):
            raise
        return _from_values(columns, {column.name: data[column.name] for column in columns})  # says what is wrong in it
    return Given(raw, {column.name: table.column(column.name) for column in columns})


def _from_values(columns: Sequence[Column], values: Mapping[str, Any]) -> Given:
    raw = {column.name: raw_from_values(column, values[column.name]) for column in columns}
    rows = {name: len(array) for name, array in raw.items()}
    if len(set(rows.values())) > 1:
        raise DataError(
            "the columns have different numbers of rows",
            ", ".join(f"{name} has {size}" for name, size in rows.items()),
            "give every column the same number",
        )
    return Given(raw, {name: value if isinstance(value, list) else np.asarray(value) for name, value in values.items()})


def _by_name(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns of rows that are mappings; what a row does not have is missing there."""
    check_names(columns, list(dict.fromkeys(name for row in rows for name in row)))
    return {column.name: [row.get(column.name) for row in rows] for column in columns}


def _by_place(columns: Sequence[Column], data: Any) -> dict[str, Any]:
    if len(columns) == 1:
        return {columns[0].name: data}
    array = _as_array(columns[0], data)
    if array.dtype.kind == "U" and any(column.kind != "text" for column in columns):
        array = np.array(data, dtype=object)  # NumPy would make texts of the numbers
    if array.ndim != 2 or array.shape[1] != len(columns) or any(column.kind == "list" for column in columns):
        raise DataError(
            f"cannot tell columns from an array of shape {array.shape}",
            f"the model has {len(columns)} columns: {', '.join(c.name for c in columns)}",
            "give a table or a mapping of column -> values",
        )
    return {column.name: array[:, i] for i, column in enumerate(columns)}


def raw_from_values(column: Column, values: Any) -> NDArray[Any]:
    """Raw values of an array or list: numbers (N,), lists (N, *shape) or (N, width), text (N,). Raises DataError."""
    if column.padding:  # rows need not be equally long
        return pad_given(column, list(values))
    array = _as_array(column, values)
    if array.ndim == 0:
        raise DataError(
            f"column {column.name!r} of {GIVEN} is a single value", "a value for each row is wanted", "give a list"
        )
    if column.kind == "text":
        return _text(column, array)
    if array.dtype == object:
        array = _numbers_of_objects(column, array)
    if array.dtype.kind not in "biuf":
        raise kind_error(column, str(array.dtype), GIVEN)
    if array.size or array.ndim > 1:
        check_shape(column, array.shape[1:], GIVEN)
    array = array.reshape((len(array), column.width) if column.kind == "list" else len(array))
    return array.astype(column.raw_dtype, copy=False) if column.missing else array


def _as_array(column: Column, values: Any) -> NDArray[Any]:
    if np.ma.isMaskedArray(values):  # asarray would bring the masked values back
        return np.array(values.tolist(), dtype=object)
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column {column.name!r} of {GIVEN} has rows of different shapes",
            str(error),
            f"give every row the shape {column.shape}",
        ) from error


def _numbers_of_objects(column: Column, array: NDArray[Any]) -> NDArray[Any]:
    if column.kind == "list":
        try:
            return np.stack([np.asarray(value) for value in array])
        except (TypeError, ValueError) as error:
            raise kind_error(column, f"rows that are no such lists ({error})", GIVEN) from error
    values = [math.nan if is_missing(value) else value for value in array.reshape(-1).tolist()]
    odd = next((value for value in values if not _is_number(value)), None)
    if odd is not None:
        raise kind_error(column, f"partly {type(odd).__name__} ({odd!r})", GIVEN)
    try:
        return np.array(values, dtype=np.float64).reshape(array.shape)
    except OverflowError:
        return np.array([_as_float(value) for value in values]).reshape(array.shape)


def _text(column: Column, array: NDArray[Any]) -> NDArray[np.uint64]:
    if array.dtype.kind not in "UTO" and array.size:
        raise kind_error(column, str(array.dtype), GIVEN)
    values = [None if is_missing(value) else value for value in array.reshape(-1).tolist()]
    odd = next((value for value in values if not isinstance(value, str | None)), None)
    if odd is not None:
        raise kind_error(column, f"partly {type(odd).__name__} ({odd!r})", GIVEN)
    return text_digests(values)


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for a value that is not there: None, NaN, pandas' NA."""
    return value is None or type(value).__name__ in MISSING or (isinstance(value, float) and math.isnan(value))


def _as_float(value: Any) -> float:
    """A number of any size; infinite where float64 cannot hold it."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | np.bool_) or type(value).__name__ == "Decimal"
