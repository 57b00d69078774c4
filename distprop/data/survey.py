"""One pass over the data before training: every value is looked at once, each shard by whoever has time.

What is found depends on the data and the request alone: shards are merged along one binary tree, whoever
surveyed them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.data.columns import Column
from distprop.data.decoding import describe, words_of
from distprop.data.feature import Feature
from distprop.data.input_check import LARGEST, bad_value
from distprop.data.median import find_medians
from distprop.data.moments import Moments, merge_moments, moments_of
from distprop.data.order import Piece
from distprop.data.part import Part, Rows
from distprop.data.receipt import MODULUS, receipt_of
from distprop.errors import DataError

MOST_VALUES = 10_000  # different values of a column that are kept apart
SQUARED = 1e150  # larger numbers have squares that float64 cannot sum
OWN = -1  # in place of a transform's place: the column as it is stored
SurveyMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Request:
    """What to find out. `distinct` names columns whose different values are counted."""

    features: tuple[Feature, ...]
    others: tuple[Column, ...]  # target and weight
    distinct: tuple[str, ...] = ()
    learn: bool = True  # whether transforms learn from these rows

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, each once, as they are hashed and read."""
        return tuple({c.name: c for c in (*(f.column for f in self.features), *self.others)}.values())


@dataclass(frozen=True)
class Distinct:
    """Different values of a column: value -> (how often, position of the first one)."""

    values: dict[Any, tuple[int, int]]


@dataclass(frozen=True)
class ShardSurvey:
    """What was found out about some rows. moments, medians: by (column, place of the transform that learns)."""

    rows: int = 0
    receipt: int = 0
    moments: dict[tuple[str, int], Moments] = field(default_factory=dict)
    distinct: dict[str, Distinct] = field(default_factory=dict)
    medians: dict[tuple[str, int], float] = field(default_factory=dict)  # of all rows together only


def survey(part: Part, request: Request, shards: int, survey_map: SurveyMap = map) -> ShardSurvey:
    """Survey a part as `shards` shards spread by `survey_map`. Raises DataError for bad values."""
    bounds = [(v * part.rows // shards, (v + 1) * part.rows // shards) for v in range(shards)]
    found = merge(list(survey_map(SurveyShard(part, request), bounds)))
    if not request.learn:
        return found
    whole = replace(part, columns=request.columns)
    return replace(found, medians=find_medians(whole, request.features, bounds, survey_map))


@dataclass(frozen=True)
class SurveyShard:
    """A function of (first row, end) that can be sent to another process."""

    part: Part
    request: Request

    def __call__(self, bounds: tuple[int, int]) -> ShardSurvey:
        """Survey rows start..stop of the part, row group by row group."""
        part = replace(self.part, columns=self.request.columns)
        found = ShardSurvey()
        for piece in part.pieces(*bounds):
            found = merge_two(found, _survey_piece(part, self.request, piece))
        return found


def merge(surveys: Sequence[ShardSurvey]) -> ShardSurvey:
    """All together, along the aligned binary tree over their numbers."""
    level = list(surveys) or [ShardSurvey()]
    while len(level) > 1:
        level = [merge_two(*level[i : i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    return level[0]


def merge_two(a: ShardSurvey, b: ShardSurvey) -> ShardSurvey:
    """Both together, a's rows before b's."""
    moments = dict(a.moments)
    for key, value in b.moments.items():
        moments[key] = merge_moments(moments[key], value) if key in moments else value
    distinct = dict(a.distinct)
    for name, seen in b.distinct.items():
        distinct[name] = _merge_distinct(name, distinct[name], seen) if name in distinct else seen
    return ShardSurvey(a.rows + b.rows, (a.receipt + b.receipt) % MODULUS, moments, distinct)


def _merge_distinct(name: str, a: Distinct, b: Distinct) -> Distinct:
    values = dict(a.values)
    for value, (count, first) in b.values.items():
        before, place = values.get(value, (0, first))
        values[value] = (before + count, min(first, place))
    if len(values) > MOST_VALUES:
        raise DataError(
            f"column {name!r} has more than {MOST_VALUES:,} different values",
            "as categories or classes they are too many",
            "leave the column out, or group its values when you write the file",
        )
    return Distinct(values)


def _survey_piece(part: Part, request: Request, piece: Piece) -> ShardSurvey:
    table = part.table(piece.group)
    rows = part.decode(piece.group, table).take(slice(piece.start, piece.stop))
    for column in request.columns:
        _check_finite(part, column.name, rows, rows.columns[column.name], column.missing)
    for feature in request.features:
        _check_range(part, feature, rows, "log" if feature.has("log") else "")
    for column in request.others:
        _check_range(part, Feature(column), rows, "other")
    moments = {key: moments_of(values) for key, values in _learnt_from(part, request, rows)}
    distinct = {name: _distinct(rows, name, table) for name in request.distinct}
    receipt = receipt_of(rows.positions, rows.columns)
    return ShardSurvey(len(rows.positions), receipt, moments, distinct)


def _check_range(part: Part, feature: Feature, rows: Rows, how: str) -> None:
    """Raise DataError for a value that is too large for float32 where it goes into the network.

    What standardize learns from may be as large as float64 can square; what it makes of it is small.
    """
    name = feature.column.name
    if rows.columns[name].dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        values = feature.before(len(feature.transforms), rows.columns[name])
    learns = any(t.kind == "standardize" and t.need for t in feature.transforms)
    largest = SQUARED if learns and feature.column.kind == "number" else LARGEST
    wrong = np.abs(values) > values.dtype.type(min(largest, float(np.finfo(values.dtype).max)))
    if wrong.any():
        raise _bad_cell(part, name, rows, wrong, how)


def _learnt_from(part: Part, request: Request, rows: Rows) -> Iterable[tuple[tuple[str, int], NDArray[Any]]]:
    for feature in request.features:
        name = feature.column.name
        if any(t.kind == "log" for t in feature.transforms):
            values = feature.before(_after_log(feature), rows.columns[name])
            _check_finite(part, name, rows, values, feature.column.missing, "log")
        for i, transform in enumerate(feature.transforms):
            if request.learn and transform.need == "moments":
                yield (name, i), feature.before(i, rows.columns[name])
    for column in request.others:
        if column.kind != "text":
            values = rows.columns[column.name]
            yield (column.name, OWN), values.reshape(len(values), column.width)


def _after_log(feature: Feature) -> int:
    return 1 + next(i for i, transform in enumerate(feature.transforms) if transform.kind == "log")


def _distinct(rows: Rows, name: str, table: pa.Table) -> Distinct:
    raw = rows.columns[name]
    keys, first, counts = np.unique(raw, return_index=True, return_counts=True)
    text = describe(table.schema.field(name))
    words = words_of(table.column(name)) if text and text.kind == "text" else None
    names = keys.tolist() if words is None else [words.get(key) for key in keys.tolist()]
    places = rows.positions[first].tolist()
    found = zip(names, counts.tolist(), places, strict=True)
    known = {value: (count, at) for value, count, at in found if value is not None and value == value}
    return _merge_distinct(name, Distinct({}), Distinct(known))


def _check_finite(part: Part, name: str, rows: Rows, values: NDArray[Any], missing: bool, how: str = "") -> None:
    """Raise DataError for the first value that is not finite. how: the transform that made the values."""
    if values.dtype.kind != "f":
        return
    bad = np.isinf(values) if missing else ~np.isfinite(values)
    if bad.any():
        raise _bad_cell(part, name, rows, bad, how)


def _bad_cell(part: Part, name: str, rows: Rows, bad: NDArray[np.bool_], how: str = "") -> DataError:
    """Names the first of the bad values, (N,) or (N, width)."""
    flat = bad.reshape(len(bad), -1)
    at = int(np.flatnonzero(flat.any(axis=1))[0])
    raw = float(np.asarray(rows.columns[name][at]).reshape(-1)[int(np.flatnonzero(flat[at])[0])])
    return bad_value(name, part.source.describe_row(int(rows.positions[at])), raw, how)
