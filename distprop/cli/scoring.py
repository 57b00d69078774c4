"""`distprop evaluate`: a saved model measured on Parquet data, a row group at a time. Needs no Ray."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.config import expand
from distprop.data.columns import Column
from distprop.data.decoding import check_field, describe
from distprop.data.input_check import finite_rows
from distprop.data.part import Part, Rows
from distprop.data.reader import Encoding
from distprop.data.source import Source, open_source
from distprop.data.targets import Targets
from distprop.errors import DataError
from distprop.model import Model
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import build_loss
from distprop.nn.metrics import at_threshold, build_metrics
from distprop.suggest import closest, suggest_name

ROWS_AT_ONCE = 4096  # bounds the memory of activations


def measure(model: Model, where: str) -> dict[str, float]:
    """The loss and the metrics of a model on data with targets, and "rows"; sums are added in stored order.

    The metrics are those of its training, with the operating point that was chosen there; its row weights are used
    where the data has them. Raises DataError where columns are missing or of another type, or a label is no class of
    the model.
    """
    targets = Targets.from_json(model.targets)
    source = open_source(expand(where))
    weight = _weight(model, source)
    columns = (*model.fitted_features.columns, targets.column, *([weight] if weight else []))
    check_columns(source, columns)
    part = Part(source, columns)
    encoding = Encoding(model.fitted_features, targets, weight.name if weight else None)
    computer = _computer(model)
    tail, at = np.zeros(computer.layout.room(source.rows)), 0
    for rows, origin in _batches(part):
        x, y, weights = _checked_batch(encoding, rows, origin)
        sums = computer.evaluate(model.flat, x, y, weights, computer.layout.rows(tail)[at : at + len(x)])
        tail[: sums.size] += sums
        at += len(x)
    return {**computer.layout.read(tail), "rows": source.rows}


def _computer(model: Model) -> LeafComputer:
    """Measures what was measured in the model's training."""
    loss, measures = build_loss(model.loss), model.metadata.get("measures")
    chosen = model.metadata.get("metrics", {}).get("valid/operating_threshold", math.nan)
    metrics = build_metrics(at_threshold(measures, chosen), loss.task, loss.quantiles)
    return LeafComputer(model.network, loss, metrics, seed=0, spread=Targets.from_json(model.targets).spread)


def _weight(model: Model, source: Source) -> Column | None:
    """The column of row weights that the model was trained with, if the data has it."""
    name = model.metadata.get("weight")
    return describe(source.schema.field(name)) if name in source.schema.names else None


@dataclass(frozen=True)
class SourceRows:
    """The rows of a row group from `first` on, by the words and cells that an error names."""

    source: Source
    group: int
    table: pa.Table
    first: int = 0

    def place(self, row: int) -> str:
        """A row in words: "12 of row group 3 of /data/a.parquet"."""
        return f"{self.first + row} of {self.source.place(self.group)}"

    def cell(self, column: str, row: int) -> Any:
        """What stands there."""
        return self.table.column(column)[self.first + row].as_py()


def _batches(part: Part) -> Iterator[tuple[Rows, SourceRows]]:
    for group in range(len(part.source.row_groups)):
        table = part.table(group)
        rows = part.decode(group, table)
        for start in range(0, len(rows.positions), ROWS_AT_ONCE):
            yield rows.take(slice(start, start + ROWS_AT_ONCE)), SourceRows(part.source, group, table, start)


def _checked_batch(
    encoding: Encoding, rows: Rows, origin: SourceRows
) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32] | None]:
    x = encoding.features.checked(rows.columns, origin)
    y = encoding.targets.apply_raw(rows.columns[encoding.targets.column.name])
    if encoding.targets.task == "regression":
        _refuse(~finite_rows(y), origin, "a target that is not finite")
    else:
        _refuse(y < 0, origin, "a label that is no class of the model")
    if encoding.weight is None:
        return x, y, None
    weights = rows.columns[encoding.weight].astype(np.float32)
    _refuse(~(np.isfinite(weights) & (weights >= 0)), origin, "a row weight that is negative or not finite")
    return x, y, weights


def _refuse(wrong: NDArray[np.bool_], origin: SourceRows, what: str) -> None:
    if wrong.any():
        where = origin.place(int(np.flatnonzero(wrong)[0]))
        raise DataError(
            f"there is {what} in row {where}", "nothing can be measured with it", "correct or remove the row"
        )


def check_columns(source: Source, columns: Sequence[Column], others: Sequence[str] = ()) -> None:
    """Raise DataError where the data lacks a column, or has it in a form that the model does not know."""
    for name in (*(column.name for column in columns), *others):
        if name not in source.schema.names:
            raise DataError(
                f"{source.name} has no column {name!r}",
                f"it has {', '.join(source.schema.names)}",
                suggest_name(name, source.schema.names) if name in others else _column_fix(name, source.schema.names),
            )
    source.need([*(column.name for column in columns), *others], "the model")
    for column in columns:
        check_field(column, source.schema.field(column.name), source.name)


def _column_fix(name: str, there: Sequence[str]) -> str:
    """What to do about a column that the model needs: its name is fixed, the data's can change."""
    like = closest(name, there)
    add = f"add {name!r} to the data, or train a model without it"
    return add if like is None else f"rename {like!r} to {name!r} if that is it, or {add}"
