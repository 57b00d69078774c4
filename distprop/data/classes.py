"""Which values of the target are which classes."""

from collections.abc import Sequence
from typing import Any

from distprop.data.categories import Value
from distprop.data.columns import Column
from distprop.data.source import Source
from distprop.data.survey import Distinct
from distprop.errors import DataError


def resolve_classes(source: Source, column: Column, outputs: int | None, seen: Distinct) -> tuple[Value, ...]:
    """The value of class 0, 1, ...

    Whole numbers 0..K-1 are class numbers themselves, K being what the model tells apart (`outputs`); other values are
    sorted, and must be K different ones. Raises DataError naming file, row group, column and value.
    """
    values = sorted(seen.values)
    if column.kind == "text":
        return _as_many(source, column, outputs, values)
    fractional = [value for value in values if value != int(value)]
    if fractional:
        raise DataError(
            f"target {column.name!r} has {fractional[0]} in row {_where(source, seen, fractional[0])}",
            "classes are whole numbers or text",
            "train it with `loss: mean_squared_error`, or name another target",
        )
    values = [int(value) for value in values]
    count = outputs or (values[-1] + 1 if values == list(range(len(values))) else None)
    if count and values[0] >= 0 and values[-1] < count:
        return tuple(range(count))
    if outputs is None or len(values) == outputs:
        return tuple(values)
    raise _out_of_range(source, column, outputs, seen)


def _as_many(source: Source, column: Column, outputs: int | None, values: Sequence[Any]) -> tuple[Value, ...]:
    if outputs is not None and len(values) != outputs:
        shown = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
        raise DataError(
            f"target {column.name!r} of {source.name} has {len(values)} different values",
            f"the model tells {outputs} classes apart; the values are {shown}",
            f"give the model's last layer {len(values)} outputs",
        )
    return tuple(values)


def _out_of_range(source: Source, column: Column, outputs: int, seen: Distinct) -> DataError:
    outside = [value for value in seen.values if not 0 <= value < outputs]
    first = min(outside, key=lambda value: seen.values[value][1])
    return DataError(
        f"label {first} is out of range: column {column.name!r}, row {_where(source, seen, first)}",
        f"the model tells {outputs} classes apart, 0 to {outputs - 1}; there are {len(seen.values)} different labels",
        f"give the model's last layer {_enough(seen)} outputs, or correct the label",
    )


def _enough(seen: Distinct) -> int:
    return int(max(seen.values)) + 1 if min(seen.values) >= 0 else len(seen.values)


def check_count(column: Column, outputs: int | None, classes: tuple[Value, ...]) -> tuple[Value, ...]:
    """The classes, if they are at least two and as many as the model tells apart. Raises DataError."""
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(
            f"target {column.name!r} has the classes {list(classes)}",
            "there must be two or more, each once",
            "name another target, or correct data.classes",
        )
    if outputs is not None and len(classes) != outputs:
        raise DataError(
            f"data.classes has {len(classes)} classes",
            f"the model tells {outputs} apart",
            f"give the model's last layer {len(classes)} outputs",
        )
    return classes


def check_classes(source: Source, split: str, column: Column, classes: Sequence[Value], seen: Distinct) -> None:
    """Raise DataError where a split has a value that is no class."""
    unknown = [value for value in seen.values if value not in set(classes)]
    if unknown:
        first = min(unknown, key=lambda value: seen.values[value][1])
        raise DataError(
            f"label {first!r} of the {split} data is no class: column {column.name!r}, "
            f"row {_where(source, seen, first)}",
            f"the classes are {', '.join(map(str, classes[:10]))}{', ...' if len(classes) > 10 else ''}",
            f"correct or remove the row in data.{split}",
        )


def _where(source: Source, seen: Distinct, value: Any) -> str:
    return source.describe_row(seen.values[value][1])
