"""CSV files become Parquet block by block: memory stays the same however long they are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from distprop.data.csv_options import CsvOptions, find_delimiter
from distprop.data.numbers_in_text import Say, read_numbers, tell_lost_zeros
from distprop.errors import DataError
from distprop.suggest import suggest_name

NO_OPTIONS = CsvOptions()
BLOCK_BYTES = 4 * 2**20  # of text, parsed at once
WIDER = (
    pa.null(), pa.int64(), pa.bool_(), pa.date32(), pa.time32("s"), pa.timestamp("s"), pa.timestamp("ns"), pa.float64(),
    pa.string(), pa.binary(),
)  # fmt: skip
"""The types of columns, each tried where one before it does not fit: pyarrow's own order, for whole files."""


def csv_to_parquet(
    path: Path, out: Path, rows_per_group: int, options: CsvOptions = NO_OPTIONS, say: Say = lambda _: None
) -> None:
    """Write the rows of a CSV or TSV file, plain or gzipped, as Parquet. Raises DataError.

    A column has the first type of WIDER that fits all of its values. The first block says what to begin with; where a
    later one does not fit, all is begun again with a wider type. `say` is told what may be meant otherwise.
    """
    reading = Reading(path, _settled(path, options, say))
    try:
        with reading.open(dict.fromkeys(options.text, pa.string())) as reader:
            schema: pa.Schema | None = reader.schema
        _check_names(path, reader.schema, options)
        while schema is not None:
            schema = _try(reading, out, rows_per_group, schema)
        read_numbers(out, reading.options, rows_per_group, say)
        _tell_lost_zeros(reading, pq.read_schema(out), say)
    except UnicodeDecodeError as error:
        raise DataError(
            f"cannot read {path}",
            f"its names of columns are no text in UTF-8: {str(error).splitlines()[0]}",
            f"convert it, such as from Latin-1: iconv -f latin1 -t utf8 {path} > converted.csv",
        ) from error
    except _TextError as error:
        raise DataError(f"cannot read {path}", str(error).splitlines()[0], "correct the file") from error


def _settled(path: Path, options: CsvOptions, say: Say) -> CsvOptions:
    if options.delimiter is not None:
        return options
    found = find_delimiter(path)
    if found != ("\t" if ".tsv" in path.suffixes else ","):
        say(f"{path.name}: columns are separated by {found!r}; `--delimiter` says otherwise")
    return replace(options, delimiter=found)


def _check_names(path: Path, schema: pa.Schema, options: CsvOptions) -> None:
    for name in options.text:
        if name not in schema.names:
            raise DataError(
                f"--text names {name!r}, and {path} has no such column",
                f"it has {', '.join(schema.names)}",
                suggest_name(name, schema.names),
            )


def _tell_lost_zeros(reading: "Reading", schema: pa.Schema, say: Say) -> None:
    """Reads the columns of numbers once more, as they are written."""
    numbers = [one.name for one in schema if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)]
    names = [name for name in numbers if schema.names.count(name) == 1]
    if names:
        with reading.open(dict.fromkeys(names, pa.string()), names) as reader:
            tell_lost_zeros((pa.Table.from_batches([batch]) for batch in _batches(reader)), say)


class _TextError(Exception):
    """The text is not what it should be; errors of writing are others."""


def _try(reading: "Reading", out: Path, rows_per_group: int, schema: pa.Schema) -> pa.Schema | None:
    """None where the whole file was written, or the schema to try next, if a column did not fit."""
    try:
        with reading.open({field.name: field.type for field in schema}) as reader:
            rows = _write(reader, out, rows_per_group)
    except _TextError as error:
        wider = _wider(schema, str(error))
        if wider is None:
            raise
        return wider
    if not rows:
        raise DataError(f"{reading.path} has no rows", "a header alone is no data", "write rows into it")
    return None


@dataclass(frozen=True)
class Reading:
    """A CSV file and how it is read."""

    path: Path
    options: CsvOptions

    def open(self, types: dict[str, pa.DataType], only: Sequence[str] = ()) -> pyarrow.csv.CSVStreamingReader:
        """Its rows, block by block; `only`: some of the columns."""
        usual = pyarrow.csv.ConvertOptions()
        try:
            return pyarrow.csv.open_csv(
                self.path,
                read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self.options.delimiter or ","),
                convert_options=pyarrow.csv.ConvertOptions(
                    strings_can_be_null=True,
                    column_types=types,
                    include_columns=list(only),
                    decimal_point=self.options.decimal,
                    null_values=[*usual.null_values, *self.options.null],
                ),
            )
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _TextError(str(error)) from error


def _batches(reader: pyarrow.csv.CSVStreamingReader) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except (pa.ArrowException, OSError) as error:
        raise _TextError(str(error)) from error


def _wider(schema: pa.Schema, error: str) -> pa.Schema | None:
    """The schema with the next type for the column that an error is about; None where there is none."""
    column = re.search(r"In CSV column #(\d+): .*conversion error", error)
    if column is None:
        return None
    index = int(column[1])
    field = schema.field(index)
    after = WIDER[WIDER.index(field.type) + 1 :] if field.type in WIDER else ()
    return schema.set(index, field.with_type(after[0])) if after else None


def _write(reader: pyarrow.csv.CSVStreamingReader, out: Path, rows_per_group: int) -> int:
    rows = 0
    with pq.ParquetWriter(out, reader.schema, compression="zstd") as writer:
        for table in _in_groups(reader, rows_per_group):
            writer.write_table(table, row_group_size=rows_per_group)
            rows += table.num_rows
    return rows


def _in_groups(reader: pyarrow.csv.CSVStreamingReader, rows_per_group: int) -> Iterator[pa.Table]:
    """The rows in tables of whole row groups, the last one with what is left."""
    held: list[pa.RecordBatch] = []
    for batch in _batches(reader):
        held.append(batch)
        table = pa.Table.from_batches(held)
        whole = table.num_rows // rows_per_group * rows_per_group
        if whole:
            yield table.slice(0, whole)
            held = table.slice(whole).to_batches()
    if held:
        yield pa.Table.from_batches(held)
