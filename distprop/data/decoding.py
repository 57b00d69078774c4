"""From Arrow columns to raw NumPy values, without a Python object per value."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from distprop.data.columns import MISSING_TEXT, Column, Padding, text_digests
from distprop.data.input_check import GIVEN, check_names, check_shape, kind_error
from distprop.data.padding import pad_rows
from distprop.data.tables import SHAPE_KEY
from distprop.errors import DataError

KNOWN = "give an Arrow table, a pandas or polars frame, a mapping of column -> values, or an array"


def describe(field: pa.Field) -> Column | None:
    """The column behind a field, or None where its type is none that can be trained on (dates, binary, ...).

    Lists of varying length (Parquet writers other than Arrow know no other) count where their metadata name
    a shape.
    """
    kind, declared = field.type, _declared_shape(field)
    if isinstance(kind, pa.FixedShapeTensorType):
        return _list_column(field.name, kind.value_type, tuple(kind.shape))
    if isinstance(kind, pa.DictionaryType):
        return describe(field.with_type(kind.value_type))
    if is_text(kind):
        return Column(field.name, "text", "text")
    if pa.types.is_fixed_size_list(kind):
        inner, sizes = _nested(kind)
        return _list_column(field.name, inner, _checked_shape(field.name, declared or sizes, math.prod(sizes)))
    if is_varying(kind):
        return _list_column(field.name, kind.value_type, declared) if declared else None
    dtype = number_name(kind)
    return Column(field.name, "number", dtype) if dtype else None


def describe_padded(field: pa.Field, length: int, padding: Padding) -> Column | None:
    """The column behind a field whose lists are brought to `length` elements; None where it has no lists of numbers."""
    column = describe(field)
    if column is None and is_varying(field.type):
        inner, sizes = _nested(field.type.value_type)
        column = _list_column(field.name, inner, (length, *sizes))
    if column is None or column.kind != "list":
        return None
    return replace(column, shape=(length, *column.shape[1:]), padding=padding)


def is_varying(kind: pa.DataType) -> bool:
    """Whether a type is that of lists, each as long as it likes."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _nested(kind: pa.DataType) -> tuple[pa.DataType, tuple[int, ...]]:
    sizes: list[int] = []
    while pa.types.is_fixed_size_list(kind):
        sizes.append(kind.list_size)
        kind = kind.value_type
    return kind, tuple(sizes)


def _list_column(name: str, value_type: pa.DataType, shape: tuple[int, ...]) -> Column | None:
    dtype = number_name(value_type)
    return Column(name, "list", dtype, shape) if dtype and math.prod(shape) else None


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is that of texts, as long as they like."""
    view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or view(kind))


def number_name(kind: pa.DataType) -> str | None:
    """NumPy's name of a number type; booleans are kept as uint8, decimals as float64."""
    if pa.types.is_boolean(kind):
        return "uint8"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))
    return "float64" if pa.types.is_decimal(kind) else None


def _declared_shape(field: pa.Field) -> tuple[int, ...]:
    """The shape in the field's metadata, written as [28, 28, 1], (28, 28, 1) or 28,28,1."""
    text = (field.metadata or {}).get(SHAPE_KEY, b"").decode(errors="replace")
    if not re.fullmatch(r"[\s\[\]()\d,]*", text):
        raise DataError(
            f"column {field.name!r} has the shape {text!r} in its metadata",
            "sizes must be whole numbers",
            'write it as "28,28,1"',
        )
    return tuple(int(size) for size in re.findall(r"\d+", text))


def _checked_shape(name: str, shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    if math.prod(shape) != size:
        raise DataError(
            f"column {name!r} has lists of {size} values but the shape {json.dumps(shape)} in its metadata",
            f"that shape has {math.prod(shape)} values",
            "write the file again with the right `shape`",
        )
    return shape


def check_field(column: Column, field: pa.Field, place: str) -> None:
    """Raise DataError where a table's column is of another kind or shape than `column`, before a value is read."""
    _check_type(column, field.type, place)
    there = describe(field) if column.kind == "list" and not column.padding else None
    if there is not None:
        check_shape(column, there.shape, place)


def _check_type(column: Column, kind: pa.DataType, place: str) -> None:
    if _kind_of(kind) not in (column.kind, "nothing"):
        raise kind_error(column, str(kind), place)


def _kind_of(kind: pa.DataType) -> str:
    """What a type can be read as: number, list or text; nothing where all is null; "" for any other."""
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.storage_type
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return "nothing"
    if is_text(kind):
        return "text"
    if not _is_list(kind):
        return "number" if number_name(kind) else ""
    while _is_list(kind):
        kind = kind.value_type
    return "list" if number_name(kind) or pa.types.is_null(kind) else ""


def _is_list(kind: pa.DataType) -> bool:
    return is_varying(kind) or bool(pa.types.is_fixed_size_list(kind))


def decode(column: Column, chunks: pa.ChunkedArray, place: str) -> NDArray[Any]:
    """Raw values of a column of one row group; see `columns`.

    Raises DataError naming `place` for another kind of column, and for nulls.
    """
    _check_type(column, chunks.type, place)
    array = chunks.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no chunks at all, or more than fit into one
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], chunks.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if array.null_count and not column.missing:
        raise null_error(column, place, int(pc.index(array.is_null(), True).as_py()))
    if pa.types.is_null(array.type):
        array = array.cast(_arrow_type(column))
    if column.kind == "text":
        return _decode_text(array)
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if column.kind == "list":
        return (_decode_padded if column.padding else _decode_list)(column, array, place)
    return _decode_numbers(column, array)


def decode_with_gaps(column: Column, chunks: pa.ChunkedArray, place: str) -> NDArray[Any]:
    """As `decode`, with nulls as missing values also where the column may have none."""
    try:
        return decode(column, chunks, place)
    except NullError:
        return decode(replace(column, missing=True), chunks, place)


def _arrow_type(column: Column) -> pa.DataType:
    if column.kind == "text":
        return pa.string()
    number = pa.from_numpy_dtype(column.raw_dtype)
    return number if column.kind == "number" else pa.list_(number)


def _decode_numbers(column: Column, array: pa.Array) -> NDArray[Any]:
    if pa.types.is_null(array.type):
        array = array.cast(pa.from_numpy_dtype(column.raw_dtype))
    elif pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    if array.null_count:
        array = pc.fill_null(array.cast(pa.from_numpy_dtype(column.raw_dtype)), math.nan)
    values = _in_place(array)
    return values.astype(column.raw_dtype, copy=False) if column.missing else values


def _in_place(array: pa.Array) -> NDArray[Any]:
    """The numbers of an array without nulls, not to be written. `to_numpy` would load pandas, where it is installed."""
    name = number_name(array.type)
    assert name is not None, f"{array.type} is no number, and np.dtype(None) is float64"
    dtype = np.dtype(name)
    if not len(array):
        return np.empty(0, dtype)
    values: NDArray[Any] = np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)
    values.flags.writeable = False
    return values


def _decode_list(column: Column, array: pa.Array, place: str) -> NDArray[Any]:
    rows, present = len(array), None
    if array.null_count:
        present = array.is_valid().to_numpy(zero_copy_only=False)
        array = array.drop_null()
    _check_lengths(column, array, place)
    flat = array.flatten()
    while pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    if flat.null_count and not column.missing:
        raise null_error(column, place, int(pc.index(flat.is_null(), True).as_py()) // column.width)
    values = _decode_numbers(column, flat).reshape(len(array), column.width)
    return values if present is None else _spread(values, present, rows)


def _decode_padded(column: Column, array: pa.Array, place: str) -> NDArray[Any]:
    """No row of `array` is null, which is seen to before."""
    sizes = np.asarray(pc.list_value_length(array).to_numpy(zero_copy_only=False), dtype=np.int64)
    flat = array.flatten()
    while pa.types.is_nested(flat.type):
        sizes, flat = sizes * _equal_size(column, flat, place), flat.flatten()
    if flat.null_count:
        at = int(pc.index(flat.is_null(), True).as_py())
        raise null_error(column, place, int(np.searchsorted(np.cumsum(sizes), at, side="right")))
    return pad_rows(column, _decode_numbers(column, flat), sizes, place)


def _equal_size(column: Column, lists: pa.Array, place: str) -> int:
    """How many values each of the lists inside lists has."""
    sizes = pc.unique(pc.list_value_length(lists)).to_pylist() or [0]
    if len(sizes) > 1:
        raise DataError(
            f"column {column.name!r} has lists of {sizes[0]} and of {sizes[1]} values inside its lists in {place}",
            "only the outer lists are padded",
            "write inner lists of one length",
        )
    return int(sizes[0] or 0)


def _spread(values: NDArray[Any], present: NDArray[np.bool_], rows: int) -> NDArray[Any]:
    """Rows that are there at their places, NaN in the others."""
    out = np.full((rows, values.shape[1]), np.nan, dtype=values.dtype)
    out[present] = values
    return out


def _check_lengths(column: Column, array: pa.Array, place: str) -> None:
    if pa.types.is_fixed_size_list(array.type):
        return
    lengths = _in_place(pc.list_value_length(array))
    wrong = np.flatnonzero(lengths != column.width)
    if wrong.size:
        raise DataError(
            f"column {column.name!r} has a list of {lengths[wrong[0]]} values in row {wrong[0]} of {place}",
            f"its shape {column.shape} has {column.width} values",
            f"make all lists equally long, or let them be padded: `{column.name}: {{pad: {column.shape[0]}}}`",
        )


def _decode_text(array: pa.Array) -> NDArray[np.uint64]:
    """Each different text is hashed once."""
    if not isinstance(array, pa.DictionaryArray):
        array = array.dictionary_encode()
    digests = text_digests(array.dictionary.to_pylist())
    codes = _in_place(pc.fill_null(array.indices.cast(pa.int64()), len(digests)))
    found: NDArray[np.uint64] = np.append(digests, np.uint64(MISSING_TEXT))[codes]
    return found


def words_of(chunks: pa.ChunkedArray) -> dict[int, str | None]:
    """Digest -> text, of all texts in a column."""
    texts = chunks.unique().to_pylist()
    return dict(zip(text_digests(texts).tolist(), texts, strict=True))


class UnreadableError(DataError):
    """What a person gives is no table that Arrow can read."""


class NullError(DataError):
    """A missing value where none is allowed."""


def null_error(column: Column, place: str, row: int) -> NullError:
    """Names the row; the advice is one that the column takes."""
    chain = "[{impute: unknown}, one_hot]" if column.kind == "text" else "{impute: mean}"
    codes = f" (codes: `{column.name}: [{{impute: -1}}, one_hot]`)" if column.dtype.startswith("int") else ""
    fill = (
        f"if it is a feature, fill it: `data.features: {{{column.name}: {chain}}}`{codes if column.shape == () else ''}"
    )
    return NullError(
        f"column {column.name!r} has a null in row {row} of {place}",
        "a network needs a number in every place",
        f"remove the row or, {'for a list without elements, write an empty one' if column.padding else fill}",
    )


def raw_from_table(columns: Sequence[Column], data: Any) -> tuple[dict[str, NDArray[Any]], pa.Table]:
    """Raw values of the columns of a table, record batch or frame that a user gives, and it. Raises DataError."""
    if _is_pandas(data):
        check_names(columns, list(data.columns))
    table = as_table(data, [column.name for column in columns])
    check_names(columns, table.column_names)
    for column in columns:
        check_field(column, table.schema.field(column.name), GIVEN)
    return {column.name: _given(column, table.column(column.name)) for column in columns}, table


def _given(column: Column, chunks: pa.ChunkedArray) -> NDArray[Any]:
    try:
        return decode(column, chunks, GIVEN)
    except pa.ArrowException as error:
        raise kind_error(column, f"{chunks.type}, which cannot be read ({error})", GIVEN) from error


def as_table(data: Any, names: Sequence[str] = ()) -> pa.Table:
    """A table from a table, a record batch or a frame (pandas, polars, whatever speaks Arrow's C stream).

    names: of a pandas frame only these columns, where they are there. Raises DataError for anything else.
    """
    try:
        if isinstance(data, pa.RecordBatch):
            return pa.Table.from_batches([data])
        if _is_pandas(data):
            return pa.Table.from_pandas(data[list(names)] if names else data, preserve_index=False)
        if isinstance(data, pa.Table) or hasattr(data, "__arrow_c_stream__"):
            return pa.table(data)
    except (pa.ArrowException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"cannot read a {type(data).__name__}", _first_line(error), KNOWN) from error
    ways = {"toarray": "give it as an array, `.toarray()`", "collect": "give what `.collect()` makes of it"}
    fix = next((way for name, way in ways.items() if hasattr(data, name)), KNOWN)
    seen = f"{type(data).__module__}.{type(data).__name__}"
    raise UnreadableError(f"cannot read a {seen}", "it is no table that is known", fix)


def _is_pandas(data: Any) -> bool:
    """Whether it is a frame of pandas, told without importing it."""
    return type(data).__module__.startswith("pandas") and hasattr(data, "columns")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
