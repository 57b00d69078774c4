"""A saved model over Parquet data, a row group at a time: predictions and measurements. Needs no Ray."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distprop.cli.output_file import check_output
from distprop.config import expand
from distprop.data.cachedir import write_whole
from distprop.data.columns import Column
from distprop.data.decoding import describe, describe_like
from distprop.data.part import Part, Rows
from distprop.data.reader import Encoding
from distprop.data.source import Source, open_source
from distprop.data.tables import fixed_list
from distprop.data.targets import Targets
from distprop.errors import DataError
from distprop.model import Model
from distprop.nn.leaf import LeafComputer
from distprop.nn.loss import per_cent
from distprop.nn.losses import build_loss
from distprop.nn.metrics import at_threshold, build_metrics
from distprop.suggest import suggest_name

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
    part = Part(source, _fitting(source, columns))
    encoding = Encoding(model.fitted_features, targets, weight.name if weight else None)
    computer = _computer(model)
    tail, at = np.zeros(computer.layout.room(source.rows)), 0
    for rows in _batches(part):
        x, y, weights = _checked_batch(encoding, rows, source)
        sums = computer.evaluate(model.flat, x, y, weights, computer.layout.rows(tail)[at : at + len(x)])
        tail[: sums.size] += sums
        at += len(x)
    return {**computer.layout.read(tail), "rows": source.rows}


def _computer(model: Model) -> LeafComputer:
    """Measures what was measured in the model's training."""
    loss, measures = build_loss(model.loss), model.metadata.get("measures")
    chosen = model.metadata.get("metrics", {}).get("valid/operating_threshold", math.nan)
    specs = at_threshold(measures, chosen)
    return LeafComputer(model.network, loss, build_metrics(specs, loss.task, loss.quantiles), seed=0)


def _weight(model: Model, source: Source) -> Column | None:
    """The column of row weights that the model was trained with, if the data has it."""
    name = model.metadata.get("weight")
    return describe(source.schema.field(name)) if name in source.schema.names else None


def _batches(part: Part) -> Iterator[Rows]:
    for group in range(len(part.source.row_groups)):
        rows = part.read(group)
        for start in range(0, len(rows.positions), ROWS_AT_ONCE):
            yield rows.take(slice(start, start + ROWS_AT_ONCE))


def _checked_batch(
    encoding: Encoding, rows: Rows, source: Source
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32] | None]:
    batch = encoding.batch(rows)
    _refuse(~np.isfinite(batch.x.reshape(batch.rows, -1)).all(axis=1), rows, source, "a value that is not finite")
    if encoding.targets.task == "regression":
        _refuse(~np.isfinite(batch.y.reshape(batch.rows, -1)).all(axis=1), rows, source, "a target that is not finite")
    else:
        _refuse(batch.y < 0, rows, source, "a label that is no class of the model")
    if batch.weights is not None:
        wrong = ~(np.isfinite(batch.weights) & (batch.weights >= 0))
        _refuse(wrong, rows, source, "a row weight that is negative or not finite")
    return batch.x, batch.y, batch.weights


def _refuse(wrong: Any, rows: Rows, source: Source, what: str) -> None:
    if wrong.any():
        where = source.describe_row(int(rows.positions[np.flatnonzero(wrong)[0]]))
        raise DataError(
            f"there is {what} in row {where}", "nothing can be measured with it", "correct or remove the row"
        )


def predict_to(
    model: Model,
    where: str,
    out: Path,
    keep: Sequence[str] = (),
    proba: bool = False,
    model_folder: str | None = None,
) -> int:
    """Write a Parquet file with the column `prediction` in the data's order; return its rows.

    Of a model of several quantiles it is a column for each: `prediction_10`, `prediction_50`, `prediction_90`, by
    their per cent. keep: columns of the data to copy. proba: also a column for the probability of each class. The
    file appears whole or not at all, and never over one that is read: neither the data nor `model_folder`. Raises
    DataError, and ConfigError for `out`.
    """
    source = open_source(expand(where))
    check_output(out, source.files, [expand(where)])
    if model_folder and out.exists():
        check_output(out, (), [model_folder])
    columns = _fitting(source, model.fitted_features.columns)
    _known(source, keep)
    names = list(dict.fromkeys([*(column.name for column in columns), *keep]))

    def write(path: Path) -> None:
        writer: pq.ParquetWriter | None = None
        for group in range(len(source.row_groups)):
            table = _predicted(model, source.read(group, names), keep, proba)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()

    write_whole(out, write)
    return source.rows


def _predicted(model: Model, table: pa.Table, keep: Sequence[str], proba: bool) -> pa.Table:
    made = table.select(list(keep))
    labels = np.asarray(model.predict(table))
    if labels.ndim == 1:
        made = made.append_column("prediction", pa.array(labels))
    elif model.quantiles:
        for place, quantile in enumerate(model.quantiles):
            made = made.append_column(f"prediction_{per_cent(quantile)}", pa.array(labels[:, place]))
    else:
        made = made.append_column(*fixed_list("prediction", labels))
    if proba:
        shares = model.predict_proba(table)
        for place, name in enumerate(model.classes_):
            made = made.append_column(f"probability_{name}", pa.array(shares[:, place]))
    return made


def _fitting(source: Source, columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns, if the data has all of them in a form that the model can read."""
    _known(source, [column.name for column in columns])
    for column in columns:
        there = describe_like(column, source.schema.field(column.name))
        if there is None or (there.kind, there.width) != (column.kind, column.width):
            raise DataError(
                f"column {column.name!r} of {source.name} is {source.schema.field(column.name).type}",
                f"the model was trained on {column.kind}s of shape {column.shape} in this column",
                "write it as in the training data",
            )
    return tuple(columns)


def _known(source: Source, names: Sequence[str]) -> None:
    for name in names:
        if name not in source.schema.names:
            raise DataError(
                f"{source.name} has no column {name!r}",
                f"it has {', '.join(source.schema.names)}",
                suggest_name(name, source.schema.names),
            )
