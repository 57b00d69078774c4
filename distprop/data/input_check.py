"""The one check of a table against what was trained: kind, shape, range and finiteness.

Every way in goes through it: Parquet files in training, evaluation and prediction; frames, Arrow tables, mappings and
arrays in `Model.predict`, and so the command line and pyfunc. Kind and shape are looked at column by column before a
value is read; range and finiteness row by row, on what the network would see.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import MISSING_TEXT, Column, Raw
from distprop.data.feature import Feature
from distprop.errors import DataError

GIVEN = "the data given"
ROWS_AT_ONCE = 4_096  # bounds the memory of a check
LARGEST = float(np.finfo(np.float32).max)


class Rows(Protocol):
    """Where rows come from, so that an error can name one."""

    def place(self, row: int) -> str:
        """A row in words: "12 of row group 3 of /data/a.parquet"."""

    def cell(self, column: str, row: int) -> Any:
        """What stands there, as it was given."""


class Encoded(NamedTuple):
    """What the network sees: x (N, *shape) float32, and which rows it cannot work with, (N,) bool."""

    x: NDArray[np.float32]
    bad: NDArray[np.bool_]


def kind_error(column: Column, seen: str, place: str) -> DataError:
    """A column of another kind than was trained."""
    return DataError(
        f"column {column.name!r} of {place} is {seen}", f"{wanted(column)} wanted there", "write it as in training"
    )


def wanted(column: Column) -> str:
    """The kind of a column in words."""
    if column.kind == "text":
        return "text is"
    if column.kind == "number":
        return f"numbers ({column.dtype}) are"
    return f"lists of numbers ({column.dtype}) of shape {column.shape} are"


def check_names(columns: Sequence[Column], given: Sequence[Any]) -> None:
    """Raise DataError where a column is not among those given, or there more than once."""
    counts = Counter(given)
    for column in columns:
        count = counts[column.name]
        if count != 1:
            raise DataError(
                f"column {column.name!r} is {f'there {count} times' if count else 'missing'}",
                f"the data has {', '.join(map(str, given))}",
                f"the model needs {', '.join(c.name for c in columns)}",
            )


def check_shape(column: Column, shape: Sequence[int], place: str) -> None:
    """Raise DataError where a row's values have another shape than was trained.

    All values in one run are taken too, and axes of size 1 (a single channel) need not be there.
    """
    if math.prod(shape) == column.width and (len(shape) <= 1 or _squeezed(shape) == _squeezed(column.shape)):
        return
    if column.kind == "number":
        raise kind_error(column, f"lists of shape {tuple(shape)}", place)
    raise DataError(
        f"column {column.name!r} of {place} has values of shape {tuple(shape)}",
        f"the model was trained on values of shape {column.shape}",
        "give values of that shape",
    )


def _squeezed(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def finite_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of (N, ...) hold finite numbers only, (N,)."""
    finite: NDArray[np.bool_] = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    return finite


def bad_rows(features: Sequence[Feature], raw: Raw, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows have a value that is missing, not finite, out of range or unknown; x: all that the network sees."""
    bad = np.empty(len(x), np.bool_)
    for start in range(0, len(x), ROWS_AT_ONCE):
        bad[start : start + ROWS_AT_ONCE] = ~finite_rows(x[start : start + ROWS_AT_ONCE])
    for feature in features:
        values = raw[feature.column.name]
        if feature.column.missing or feature.column.kind == "list":
            continue
        if feature.column.kind == "text":
            bad |= values == MISSING_TEXT
        elif values.dtype.kind == "f" and feature.coded:
            bad |= ~np.isfinite(values)  # codes make something of it
    return bad


def bad_row_error(features: Sequence[Feature], raw: Raw, row: int, rows: Rows) -> DataError:
    """Names the first column that makes a row bad, its value and what to do."""
    for feature in features:
        name = feature.column.name
        values = raw[name][row : row + 1]
        unfit = bad_rows([feature], {name: values}, feature.encoded(values))
        if unfit[0]:
            return _bad_cell(feature, values, rows.cell(name, row), rows.place(row))
    raise AssertionError(f"row {row} is not bad")  # pragma: no cover - asked of bad rows only


def _bad_cell(feature: Feature, values: NDArray[Any], cell: Any, place: str) -> DataError:
    name = feature.column.name
    if feature.column.kind == "text" and values[0] == MISSING_TEXT:
        return bad_value(name, place, math.nan, fill=f"{name}: [{{impute: unknown}}, {feature.transforms[-1].kind}]")
    if feature.coded and (values.dtype.kind != "f" or np.isfinite(values).all()):
        return unknown_category(name, cell, place)
    flat = np.asarray(values, np.float64).reshape(-1)
    seen = feature.encoded(values).reshape(-1)
    odd = np.flatnonzero(~np.isfinite(flat))
    if not odd.size and len(seen) == len(flat):
        odd = np.flatnonzero(~np.isfinite(seen))
    return bad_value(name, place, float(flat[odd[0] if odd.size else 0]), "log" if feature.has("log") else "")


def unknown_category(name: str, value: Any, place: str) -> DataError:
    """A value of a one_hot column that is none of its categories."""
    return DataError(
        f"column {name!r} has {value!r} in row {place}",
        "that category is not among those of the training rows",
        f"correct the row, or train with `{name}: {{one_hot: {{unknown: ignore}}}}` (all zeros) or `unknown: own` "
        "(a column for it)",
    )


def bad_value(name: str, place: str, value: float, how: str = "", fill: str = "") -> DataError:
    """A number that a network cannot take: missing, infinite, or too large once it is preprocessed.

    how: "log" where its logarithm was taken, "other" for a target or weight. fill: how a missing one is filled.
    """
    if math.isnan(value):
        why = "a network needs a value in every place"
        chain = fill or f"{name}: {{impute: mean}}"
        fix = f"remove the row or, if it is a feature, fill it: `data.features: {{{chain}}}`"
        return DataError(f"column {name!r} has {'a null' if fill else 'nan'} in row {place}", why, fix)
    if math.isinf(value):
        why, fix = "a network needs a finite number in every place", "correct or remove the row"
    elif how == "log" and abs(value) < LARGEST:
        why, fix = "its logarithm is no finite number", f"add to it first: `{name}: {{log: {{add: 1}}}}`"
    else:
        why = f"a network's numbers are float32, up to {LARGEST:.1e}: this one is too large for it"
        scale = f"scale the column in training: `{name}: {{scale: {1 / abs(value):.0e}}}`"
        fix = f"correct the row, or {'divide the column when the file is written' if how == 'other' else scale}"
    return DataError(f"column {name!r} has {value} in row {place}", why, fix)
