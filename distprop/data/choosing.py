"""Which columns are features, from what the recipe says and what the data has."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa

from distprop.data.columns import Column, Padding
from distprop.data.decoding import describe, describe_padded, is_varying
from distprop.data.feature import Feature
from distprop.data.tables import FOLDER_KEY
from distprop.data.transforms import TRANSFORMS, Transform, parse_transforms
from distprop.errors import DataError
from distprop.suggest import suggest_name

WRITERS_OWN = ("__index_level_*__", "__null_dask_index__", "Unnamed: [0-9]*", "_hoodie_*", "")
"""Names of columns that pandas, dask, pandas' CSV and Hudi write for themselves."""


@dataclass(frozen=True)
class FeaturePlan:
    """The features as the recipe asks for them, not fitted yet; and what `all` left out for its type."""

    features: tuple[Feature, ...]
    left_out: tuple[str, ...] = ()


def resolve_features(spec: Any, reserved: Sequence[str], schema: pa.Schema) -> FeaturePlan:
    """Find the columns that `data.features` means; `reserved` (target, weight) are never features.

    spec: "all", a list of names or globs, or a mapping of name or glob -> transforms. Raises DataError.
    """
    own = writers_own(schema)
    free = [name for name in schema.names if name not in reserved and name not in own]
    if spec is None or spec == "all":
        chosen, left_out = _all(free, schema)
        left_out += [name for name in own if name not in reserved]
    else:
        wanted = dict(spec) if isinstance(spec, Mapping) else dict.fromkeys([spec] if isinstance(spec, str) else spec)
        chosen, left_out = _matches(wanted, free, reserved, schema), []
    if not chosen:
        raise DataError(
            "no column is left for data.features",
            f"the data has {', '.join(schema.names)}",
            "name the columns to learn from",
        )
    return FeaturePlan(tuple(_feature(name, how, schema) for name, how in chosen.items()), tuple(left_out))


def writers_own(schema: pa.Schema) -> dict[str, str]:
    """Columns that are no data: name -> what they are. `all` and globs leave them out; by name they can be had."""
    described = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    kept = {name for name in described.get("index_columns", ()) if isinstance(name, str)}
    found = {}
    for field in schema:
        if from_folders(schema, field.name):
            found[field.name] = "the names of folders give it"
        elif field.name in kept or any(fnmatchcase(field.name, pattern) for pattern in WRITERS_OWN):
            found[field.name] = "its writer keeps it for itself, as an index"
    return found


def from_folders(schema: pa.Schema, name: str) -> bool:
    """Whether the names of folders give this column."""
    return FOLDER_KEY in (schema.field(name).metadata or {})


def _all(free: Sequence[str], schema: pa.Schema) -> tuple[dict[str, Any], list[str]]:
    usable = [name for name in free if describe(schema.field(name)) is not None]
    return dict.fromkeys(usable), [name for name in free if name not in usable]


def _matches(
    wanted: Mapping[str, Any], free: Sequence[str], reserved: Sequence[str], schema: pa.Schema
) -> dict[str, Any]:
    """Names as written beat globs; of several globs the first one counts."""
    chosen: dict[str, Any] = {}
    for pattern, how in wanted.items():
        names = [pattern] if pattern in schema.names else [name for name in free if fnmatchcase(name, pattern)]
        if pattern in reserved:
            raise DataError(
                f"data.features names {pattern!r}, which is the target or the weight",
                "a network that sees the answer learns nothing",
                "take it out of data.features",
            )
        if not names:
            raise missing_column(f"data.features names {pattern!r}", pattern, schema)
        chosen.update({n: how for n in names if n not in chosen and (n == pattern or n not in wanted)})
    return chosen


def missing_column(what: str, name: str, schema: pa.Schema) -> DataError:
    """A column that is not there, with a guess."""
    columns = ", ".join(schema.names[:30]) + (", ..." if len(schema.names) > 30 else "")
    return DataError(
        f"{what}, and there is no such column",
        f"the data has {columns}",
        suggest_name(name, schema.names),
    )


def _feature(name: str, spec: Any, schema: pa.Schema) -> Feature:
    transforms, field = parse_transforms(name, spec), schema.field(name)
    pads = [transform for transform in transforms if transform.kind == "pad"]
    column = _padded(field, pads[0]) if pads else describe(field)
    if column is None:
        raise _no_feature(field)
    _check_chain(column, transforms)
    fills = any(transform.kind == "impute" for transform in transforms)
    return Feature(replace(column, missing=fills), transforms)


def _padded(field: pa.Field, pad: Transform) -> Column:
    length, value, keep = (pad.settings[name] for name in ("length", "value", "keep"))
    column = describe_padded(field, length, Padding(value, keep))
    if column is None:
        raise DataError(
            f"data.features.{field.name} asks for pad", f"its type is {field.type}", "pad lists of numbers only"
        )
    if column.raw_dtype.kind in "iu" and not (value == int(value) and _holds(column, int(value))):
        raise DataError(
            f"data.features.{field.name}.pad fills up with {value}",
            f"its lists hold {column.dtype}",
            "use a value of that type, or write the column with another one",
        )
    return column


def _holds(column: Column, value: int) -> bool:
    limits = np.iinfo(column.raw_dtype)
    return int(limits.min) <= value <= int(limits.max)


def _no_feature(field: pa.Field) -> DataError:
    varying = is_varying(field.type)
    return DataError(
        f"column {field.name!r} cannot be a feature",
        f"its type is {field.type}"
        + (": lists of any length, and a network takes rows of one shape" if varying else ""),
        f"give its lists one length, as `{field.name}: {{pad: 100}}` in data.features, or leave it out"
        if varying
        else "leave it out, or turn it into numbers or fixed-size lists when you write the file",
    )


def _check_chain(column: Column, transforms: Sequence[Transform]) -> None:
    kinds = [transform.kind for transform in transforms]
    encoded = bool(kinds) and TRANSFORMS[kinds[-1]].last
    if column.kind == "text" and not encoded:
        raise DataError(
            f"column {column.name!r} holds text, not numbers",
            "a network needs numbers",
            f"write `{column.name}: one_hot` or `{column.name}: vocabulary` in data.features, or leave the column out",
        )
    if encoded and column.dtype.startswith("float"):
        raise DataError(
            f"data.features.{column.name} asks for {kinds[-1]}",
            f"it holds {column.dtype} numbers",
            "use whole numbers or text there, or `standardize`",
        )
    for i, transform in enumerate(transforms):
        why = _misplaced(column, transform, kinds, i) or _unfit_fill(column, transform, encoded)
        if why:
            raise DataError(f"data.features.{column.name} asks for {transform.kind}", why, "change the list")


def _misplaced(column: Column, transform: Transform, kinds: Sequence[str], place: int) -> str:
    """Why a transform cannot stand at its place, or nothing."""
    kind, before = TRANSFORMS[transform.kind], kinds[:place]
    if column.kind not in kind.on:
        return f"it does not work on columns of kind {column.kind}"
    if kind.last and place < len(kinds) - 1:
        return "nothing can come after it"
    if kind.last and set(before) - {"impute"}:
        return "only impute can come before it"
    if transform.kind in before:
        return "it is there twice"
    if "pad" in kinds and not (transform.kind == "pad" and place == 0):
        return _unfit_with_pad(transform, column, place)
    if transform.need == "moments" and "standardize" in before:
        return "it cannot learn from standardized values; put it first"
    return ""


def _unfit_with_pad(transform: Transform, column: Column, place: int) -> str:
    """The padding value must be found again behind the transforms: a layer knows a row's length by it."""
    if transform.kind == "pad":
        return "it must be first"
    alike = transform.kind == "scale" and column.padding is not None and column.padding.value == 0
    return "" if alike and place else "beside pad there can only be scale, behind it, and with a padding of 0"


def _unfit_fill(column: Column, transform: Transform, encoded: bool) -> str:
    """Why a missing value cannot be filled so, or nothing."""
    if transform.kind != "impute":
        return ""
    value = transform.settings["value"]
    if value in ("mean", "median"):
        if column.kind == "text" or encoded:
            return f"text and codes have no {value}; name a value, as `impute: unknown`"
        no_median = value == "median" and column.kind == "list"
        return "medians are found of single numbers only; lists can use `impute: mean`" if no_median else ""
    if column.kind != "text" and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"{value!r} is no number; use `mean`, `median` or a number"
    return ""
