"""One schema for the files of a data set, which may have been written in different ways.

Columns are found by name, in whatever order. Where numbers have different types, the column has the narrowest type that
holds all of them; texts may be encoded or not. What cannot be read as one column is noted, and refused where it is
needed: what is not used is not compared.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distprop.data.decoding import is_text, is_varying, number_name


@dataclass(frozen=True)
class CommonSchema:
    """Each column once, with its type in all files; and why some cannot be used, by name."""

    schema: pa.Schema
    unusable: Mapping[str, str]


def common_schema(files: Sequence[str], schemas: Sequence[pa.Schema]) -> CommonSchema:
    """The columns of all files, in the order of the first one."""
    fields: dict[str, pa.Field] = {}
    unusable: dict[str, str] = {}
    owner: dict[str, str] = {}
    different = list(_different(files, schemas))
    for path, schema in different:
        unusable |= {name: f"{path} has it {places}" for name, places in _repeated(schema).items()}
        for field in schema:
            known = fields.setdefault(field.name, field)
            owner.setdefault(field.name, path)
            both = common_type(known.type, field.type)
            if both is None:
                why = f"it is {known.type} in {owner[field.name]} and {field.type} in {path}"
                unusable.setdefault(field.name, why)
            elif both != known.type:
                fields[field.name] = known.with_type(both)
    for path, schema in different:
        for name in fields.keys() - set(schema.names):
            unusable.setdefault(name, f"{path} has no such column, and {owner[name]} has it")
    return CommonSchema(pa.schema(list(fields.values()), schemas[0].metadata), unusable)


def _different(files: Sequence[str], schemas: Sequence[pa.Schema]) -> Iterator[tuple[str, pa.Schema]]:
    """The files whose schema is not that of the file before them: most data sets have one."""
    before: pa.Schema | None = None
    for path, schema in zip(files, schemas, strict=True):
        if before is None or not schema.equals(before):
            yield path, schema
        before = schema


def _repeated(schema: pa.Schema) -> dict[str, str]:
    """Names of several columns -> where these are, counted from 1."""
    found = {}
    for name in (name for name, count in Counter(schema.names).items() if count > 1):
        places = [str(place + 1) for place in schema.get_all_field_indices(name)]
        found[name] = f"{len(places)} times, as columns {', '.join(places[:-1])} and {places[-1]}"
    return found


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds the values of both; None where no column can be both."""
    if a == b:
        return a
    a, b = (kind.value_type if isinstance(kind, pa.DictionaryType) else kind for kind in (a, b))
    if pa.types.is_null(a) or pa.types.is_null(b):
        return b if pa.types.is_null(a) else a
    if is_text(a) and is_text(b):
        return pa.string() if a == b == pa.string() else pa.large_string()
    if is_varying(a) and is_varying(b):
        inner = common_type(a.value_type, b.value_type)
        short = pa.types.is_list(a) and pa.types.is_list(b)
        return None if inner is None else pa.list_(inner) if short else pa.large_list(inner)
    if pa.types.is_fixed_size_list(a) and pa.types.is_fixed_size_list(b) and a.list_size == b.list_size:
        inner = common_type(a.value_type, b.value_type)
        return None if inner is None else pa.list_(inner, a.list_size)
    first, second = number_name(a), number_name(b)
    if not first or not second:
        return None
    both = [np.dtype(first), np.dtype(second)]
    mixed = {dtype.kind == "f" for dtype in both} == {True, False}
    return pa.from_numpy_dtype(np.dtype(np.float64) if mixed else np.promote_types(*both))
