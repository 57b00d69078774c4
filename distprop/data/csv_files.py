"""CSV files become Parquet block by block: memory stays the same however long they are."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from distprop.errors import DataError

BLOCK_BYTES = 4 * 2**20  # of text, parsed at once
WIDER = (
    pa.null(), pa.int64(), pa.bool_(), pa.date32(), pa.time32("s"), pa.timestamp("s"), pa.timestamp("ns"), pa.float64(),
    pa.string(), pa.binary(),
)  # fmt: skip
"""The types of columns, each tried where one before it does not fit: pyarrow's own order, for whole files."""


def csv_to_parquet(path: Path, out: Path, rows_per_group: int) -> None:
    """Write the rows of a CSV or TSV file, plain or gzipped, as Parquet. Raises DataError.

    A column has the first type of WIDER that fits all of its values. The first block says what to begin with; where a
    later one does not fit, all is begun again with a wider type.
    """
    try:
        with _open(path, {}) as reader:
            schema: pa.Schema | None = reader.schema
        while schema is not None:
            schema = _try(path, out, rows_per_group, schema)
    except _TextError as error:
        raise DataError(f"cannot read {path}", str(error).splitlines()[0], "correct the file") from error


class _TextError(Exception):
    """The text is not what it should be; errors of writing are others."""


def _try(path: Path, out: Path, rows_per_group: int, schema: pa.Schema) -> pa.Schema | None:
    """None where the whole file was written, or the schema to try next, if a column did not fit."""
    try:
        with _open(path, {field.name: field.type for field in schema}) as reader:
            rows = _write(reader, out, rows_per_group)
    except _TextError as error:
        wider = _wider(schema, str(error))
        if wider is None:
            raise
        return wider
    if not rows:
        raise DataError(f"{path} has no rows", "a header alone is no data", "write rows into it")
    return None


def _open(path: Path, types: dict[str, pa.DataType]) -> pyarrow.csv.CSVStreamingReader:
    try:
        return pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t" if ".tsv" in path.suffixes else ","),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True, column_types=types),
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
