"""`distprop predict`: a model's predictions of Parquet data as a Parquet file, a row group at a time. Needs no Ray."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distprop.cli.output_file import check_output
from distprop.cli.scoring import SourceRows, check_columns
from distprop.config import expand
from distprop.data.cachedir import write_whole
from distprop.data.decoding import decode, decode_with_gaps
from distprop.data.input_check import bad_row_error, finite_rows
from distprop.data.source import Source, open_source
from distprop.data.tables import fixed_list
from distprop.errors import DataError
from distprop.model import Model
from distprop.nn.loss import per_cent
from distprop.system_errors import refusals, require_text


@dataclass
class Written:
    """How many predictions were written, how many of them null, and what is wrong with the first such row."""

    rows: int = 0
    null: int = 0
    first: DataError | None = None


@dataclass(frozen=True)
class PredictionFile:
    """What is asked for.

    keep: columns of the data to copy. proba: also a column for the probability of each class. null_bad_rows: a row that
    the model cannot work with (missing, not finite, out of range, unknown) gets null instead of being an error.
    """

    model: Model
    keep: Sequence[str] = ()
    proba: bool = False
    null_bad_rows: bool = False
    written: Written = field(default_factory=Written)

    def write(self, where: str, out: Path, model_folder: str | None = None) -> Written:
        """Write the column `prediction` in the data's order.

        Of a model of several quantiles it is a column for each: `prediction_10`, `prediction_50`, `prediction_90`, by
        their per cent. The file appears whole or not at all, and never over one that is read: neither the data nor
        `model_folder`. Raises DataError, and ConfigError for `out`.
        """
        require_text(out)
        source = open_source(expand(where))
        check_output(out, source.files, [expand(where)])
        if model_folder and out.exists():
            check_output(out, (), [model_folder])
        if self.proba:
            self.model.probabilities(np.empty((0, *self.model.network.output_shape), np.float32))
        check_columns(source, self.model.fitted_features.columns, self.keep)
        for name in self.keep:
            if name.startswith(("prediction", "probability_")):
                raise DataError(
                    f"--keep names {name!r}",
                    "predictions are written under such a name",
                    "rename the column, or leave it",
                )
        with refusals(f"the predictions {out} cannot be written"):
            write_whole(out, lambda part: self._fill(part, source))
        return self.written

    def _fill(self, part: Path, source: Source) -> None:
        writer: pq.ParquetWriter | None = None
        for table in self._tables(source):
            writer = writer or pq.ParquetWriter(part, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()

    def _tables(self, source: Source) -> Iterator[pa.Table]:
        columns = [column.name for column in self.model.fitted_features.columns]
        names = list(dict.fromkeys([*columns, *self.keep]))
        for group in range(len(source.row_groups)):
            rows = SourceRows(source, group, source.read(group, names))
            yield self._predicted(rows)

    def _predicted(self, rows: SourceRows) -> pa.Table:
        outputs, bad = self._outputs(rows)
        self.written.rows += len(outputs)
        self.written.null += int(bad.sum())
        made = rows.table.select(list(dict.fromkeys(self.keep)))
        labels = np.asarray(self.model.answers(outputs))
        if labels.ndim == 1:
            made = made.append_column("prediction", pa.array(labels, mask=bad))
        elif self.model.quantiles:
            for place, quantile in enumerate(self.model.quantiles):
                made = made.append_column(f"prediction_{per_cent(quantile)}", pa.array(labels[:, place], mask=bad))
        else:
            made = made.append_column(*fixed_list("prediction", labels, bad if self.null_bad_rows else None))
        if self.proba:
            shares = self.model.probabilities(outputs)
            for place, name in enumerate(self.model.classes_):
                made = made.append_column(f"probability_{name}", pa.array(shares[:, place], mask=bad))
        return made

    def _outputs(self, rows: SourceRows) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Raw outputs, and which rows have none. Raises DataError for such a row, unless they are to be null."""
        features = self.model.fitted_features
        read = decode_with_gaps if self.null_bad_rows else decode
        place = rows.source.place(rows.group)
        raw = {column.name: read(column, rows.table.column(column.name), place) for column in features.columns}
        x, bad = features.encode(raw)
        if bad.any() and (self.written.first is None or not self.null_bad_rows):
            error = bad_row_error(features.features, raw, int(np.flatnonzero(bad)[0]), rows)
            self._note(error)
        outputs = self.model.predict_prepared(x)
        far = ~finite_rows(outputs) & ~bad
        if far.any():
            self._note(self.model.overflow_error(rows.place(int(np.flatnonzero(far)[0]))))
        return outputs, bad | far

    def _note(self, error: DataError) -> None:
        if not self.null_bad_rows:
            raise error
        self.written.first = self.written.first or error
