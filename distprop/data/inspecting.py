"""`distprop init`: look at the data once and propose a job that runs and learns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.data.choosing import from_folders, missing_column, writers_own
from distprop.data.columns import MISSING_TEXT, Column
from distprop.data.decoding import decode, describe, is_varying
from distprop.data.leaking import leak
from distprop.data.proposing import Seen, propose
from distprop.data.source import Source, open_source
from distprop.errors import DataError

LOOKED_AT = 200_000  # rows
FEW = 30  # different values that are few enough to be names
SHARED = 2  # rows that a text must have on the average, to be a category
MOST_COLUMNS = 2_048  # one for each category; more categories are hashed
BUCKETS = 4_096
RARE = 6  # rows: a rarer category may be in the validation rows only


@dataclass(frozen=True)
class Look:
    """What was seen of a column: its first rows' nulls, different values and spread."""

    column: Column
    type: str
    rows: int
    nulls: int
    distinct: int  # of single values; 0 for lists
    low: float = 0.0
    high: float = 0.0
    named: bool = False  # its metadata name classes
    values: NDArray[Any] | None = field(default=None, compare=False, repr=False)  # raw, of single columns
    rarest: int = 0  # rows of the value that fewest rows have

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.column.dtype.startswith(("int", "uint"))

    @property
    def codes(self) -> bool:
        """Whether its numbers are rather names than amounts."""
        return self.named and self.whole and 2 < self.distinct <= FEW and not self.nulls


def suggest(path: str, target: str) -> dict[str, Any]:
    """Propose a job for the rows at `path`: the plain dict of a config, and "comments": dotted key -> why.

    Reads at most the first 200,000 rows (in whole row groups). Raises DataError.
    """
    source = open_source(path)
    if target not in source.schema.names:
        raise missing_column(f"--target names {target!r}", target, source.schema)
    source.need(source.schema.names, "init")
    looks, left_out = _look(source, target)
    if target in left_out:
        raise DataError(
            f"target {target!r} cannot be learned", f"its type is {source.schema.field(target).type}", "name another"
        )
    comments = {f"data.features.{name}": f"left out: {why}" for name, why in left_out.items()}
    features, why = _choose(looks, target)
    comments |= {f"data.features.{name}": reason for name, reason in why.items()}
    if not features:
        raise DataError(f"no column of {path} is fit to learn from", "; ".join(comments.values()), "add columns")
    wide = any(looks[name].column.kind == "list" for name in features)
    answer = looks[target]
    seen = Seen(answer.column, answer.distinct, answer.low, answer.high, answer.named, source.rows, wide)
    job, more = propose(path, seen, features)
    return job | {"comments": comments | more}


def _choose(looks: Mapping[str, Look], target: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The features with their transforms, and what is to be said about columns, kept or left out."""
    comments, signs = {}, {}
    for name in (name for name in looks if name != target):
        why, sign = _unfit(looks[name]), leak(name, looks[name].values, target, looks[target].values)
        if why:
            comments[name] = f"left out: {why}"
        else:
            signs[name] = sign
    doubtful = {name for name, sign in signs.items() if sign and sign.sure}
    keep = signs.keys() - doubtful or signs.keys()  # a doubtful column is better than none
    for name, sign in signs.items():
        noted = _noted(looks[name])
        if noted and name in keep:
            comments[name] = noted
        if sign:
            comments[name] = f"{'caution' if name in keep else 'left out'}: {sign.why}"
    return {name: _transform(looks[name]) for name in signs if name in keep}, comments


def _look(source: Source, target: str) -> tuple[dict[str, Look], dict[str, str]]:
    columns = {field.name: describe(field) for field in source.schema}
    left_out = {n: _no_column(source.schema.field(n)) for n, c in columns.items() if c is None}
    indices = {name: why for name, why in writers_own(source.schema).items() if not from_folders(source.schema, name)}
    left_out |= {name: why for name, why in indices.items() if name != target}
    usable = [column for column in columns.values() if column is not None and column.name not in left_out]
    table = _first_rows(source, [column.name for column in usable])
    return {
        column.name: _look_at(column, table.column(column.name), _named(source, column)) for column in usable
    }, left_out


def _no_column(field: pa.Field) -> str:
    pad = f"; `{field.name}: {{pad: 100}}` makes its lists equally long" if is_varying(field.type) else ""
    return f"its type is {field.type}{pad}"


def _first_rows(source: Source, names: list[str]) -> pa.Table:
    tables, rows = [], 0
    for group, described in enumerate(source.row_groups):
        if rows < LOOKED_AT:
            tables.append(source.read(group, names))
            rows += described.rows
    return pa.concat_tables(tables)


def _named(source: Source, column: Column) -> bool:
    return b"classes" in (source.schema.field(column.name).metadata or {})


def _look_at(column: Column, values: pa.ChunkedArray, named: bool) -> Look:
    kind, rows = str(values.type), len(values)
    if column.kind == "text":
        digests = decode(replace(column, missing=True), values, "the data")
        _, counts = np.unique(digests[digests != MISSING_TEXT], return_counts=True)
        rarest = int(counts.min(initial=rows))
        return Look(column, kind, rows, values.null_count, len(counts), values=digests, rarest=rarest)
    numbers = decode(replace(column, missing=True), values, "the data")
    here = numbers[np.isfinite(numbers)]
    low, high = (float(here.min()), float(here.max())) if here.size else (0.0, 0.0)
    counts = np.unique(here, return_counts=True)[1] if column.kind != "list" else np.empty(0, np.intp)
    return Look(
        column,
        kind,
        rows,
        int(np.isnan(numbers).any(axis=-1).sum()) if column.kind == "list" else int(np.isnan(numbers).sum()),
        len(counts),
        low,
        high,
        named,
        None if column.kind == "list" else numbers,
        int(counts.min(initial=rows)),
    )


def _unfit(look: Look) -> str:
    """Why a column is no feature, or nothing."""
    if look.column.kind == "list":
        return ""
    if look.distinct <= 1:
        return "it is the same in every row"
    if look.column.kind == "text":
        own = look.distinct > max(FEW, look.rows / SHARED)
        return f"it has {look.distinct:,} different texts in {look.rows:,} rows" if own else ""
    counts = look.distinct == look.rows and look.high - look.low == look.rows - 1
    return "it counts the rows" if look.whole and counts and look.rows > FEW else ""


def _coded(look: Look) -> Any:
    """A column for each category; where they are very many, for each of some buckets."""
    if look.distinct > MOST_COLUMNS:
        return {"hash": BUCKETS}
    return {"one_hot": {"unknown": "ignore"}} if look.rarest < RARE or look.rows >= LOOKED_AT else "one_hot"


def _noted(look: Look) -> str:
    """What is to be said about how a column of categories is used, or nothing."""
    if look.column.kind != "text" or look.distinct <= FEW:
        return ""
    how = "a column each" if look.distinct <= MOST_COLUMNS else f"spread over {BUCKETS:,} columns, which they share"
    return f"{look.distinct:,} categories, {how}; the first dense layer holds a vector for each"


def _transform(look: Look) -> Any:
    if look.column.kind == "text" or look.codes:
        fill = [{"impute": {"value": "missing", "indicator": False}}] if look.nulls else []
        return [*fill, _coded(look)] if fill else _coded(look)
    if look.column.kind == "list" and look.column.dtype == "uint8" and look.high > 0:
        return {"scale": 1 / 255 if look.high > 100 else 1 / look.high}
    return [{"impute": "mean"}, "standardize"] if look.nulls else "standardize"
