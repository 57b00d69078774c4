"""Where the rows are: Parquet files on any pyarrow filesystem, in a fixed order."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distprop.data.finding import find_files
from distprop.data.samples import SAMPLE_SCHEME, sample_path
from distprop.errors import DataError


@dataclass(frozen=True)
class RowGroup:
    """One row group: `index` within file number `file`, starting at row `first_row` of the whole data."""

    file: int
    index: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class Source:
    """Parquet files as one run of rows; holds no rows, so it is cheap to send.

    `name` is what the user wrote. The data's order is: files sorted by path, rows as stored.
    """

    name: str
    filesystem: Any
    files: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]  # (bytes, modified in ns) of each file
    schema: pa.Schema
    row_groups: tuple[RowGroup, ...]

    @cached_property
    def rows(self) -> int:
        """How many rows all files have together."""
        return sum(group.rows for group in self.row_groups)

    @cached_property
    def _first_rows(self) -> list[int]:
        return [group.first_row for group in self.row_groups]

    def read(self, row_group: int, columns: Sequence[str]) -> pa.Table:
        """The named columns of one row group, numbered over all files. Raises DataError."""
        group = self.row_groups[row_group]
        table = self._read(group, columns)
        if table.num_rows != group.rows:
            raise DataError(
                f"{self.place(row_group)} has {table.num_rows} rows, not {group.rows}",
                "the file was replaced since training began",
                "train on files that stay as they are",
            )
        return table

    def _read(self, group: RowGroup, columns: Sequence[str]) -> pa.Table:
        path = self.files[group.file]
        try:
            with self.filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as parquet:
                return parquet.read_row_group(group.index, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(f"row group {group.index} of {path}", error) from error

    def place(self, row_group: int) -> str:
        """Where a row group is, for error messages: "row group 3 of /data/a.parquet"."""
        group = self.row_groups[row_group]
        return f"row group {group.index} of {self.files[group.file]}"

    def describe_row(self, position: int) -> str:
        """A row for error messages: "12 of row group 3 of /data/a.parquet" (counted from 0)."""
        group = self.group_at(position)
        return f"{position - self.row_groups[group].first_row} of {self.place(group)}"

    def group_at(self, position: int) -> int:
        """The number of the row group that holds row `position` of the whole data."""
        return bisect_right(self._first_rows, position) - 1


def open_source(paths: str | Sequence[str]) -> Source:
    """Open files, folders or globs, local or by URI, or `sample://name`. Reads only the files' footers.

    Raises DataError: nothing there, not Parquet, truncated, differing schemas, a Delta or Iceberg table.
    """
    names = [paths] if isinstance(paths, str) else list(paths)
    if not names:
        raise DataError("no data files are named", "the list of paths is empty", "name a Parquet file or folder")
    real = [sample_path(name) if name.startswith(SAMPLE_SCHEME) else name for name in names]
    filesystem, files, stamps = find_files(real)
    footers = [_footer(filesystem, path) for path in files]
    schema = _common_schema(files, [footer.schema.to_arrow_schema() for footer in footers])
    groups = _row_groups(footers)
    if not groups:
        raise DataError(f"{', '.join(names)} has no rows", "every file is empty", "write rows into it")
    return Source(", ".join(names), filesystem, files, stamps, schema, groups)


def _unreadable(place: str, error: BaseException) -> DataError:
    why = _first_line(error)
    if "lists to be of size" in why:  # Arrow writes what it cannot read
        return DataError(f"cannot read {place}", f"a fixed-size list is null ({why})", "fill or remove these rows")
    return DataError(
        f"cannot read {place}",
        f"{why} (the file is damaged, truncated or gone)",
        "write or download the file again",
    )


def _footer(filesystem: Any, path: str) -> pq.FileMetaData:
    try:
        with filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as parquet:
            return parquet.metadata
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"cannot read {path} as Parquet",
            f"{_first_line(error)} (not a Parquet file, or a truncated one)",
            "write or download it again, or turn other formats into Parquet with `distprop import`",
        ) from error


def _row_groups(footers: Sequence[pq.FileMetaData]) -> tuple[RowGroup, ...]:
    groups, first = [], 0
    for file, footer in enumerate(footers):
        for index in range(footer.num_row_groups):
            rows = footer.row_group(index).num_rows
            if rows:
                groups.append(RowGroup(file, index, first, rows))
            first += rows
    return tuple(groups)


def _common_schema(files: Sequence[str], schemas: Sequence[pa.Schema]) -> pa.Schema:
    first = schemas[0]
    for path, schema in zip(files, schemas, strict=True):
        difference = _difference(first, schema)
        if difference:
            raise DataError(
                f"{path} has other columns than {files[0]}",
                difference,
                "use files with the same columns and types",
            )
    return first


def _difference(a: pa.Schema, b: pa.Schema) -> str:
    only = sorted(set(a.names) ^ set(b.names))
    if only:
        return f"column {only[0]!r} is in one of them only"
    for field in a:
        other = b.field(field.name)
        if field.type != other.type:
            return f"column {field.name!r} is {field.type} in one and {other.type} in the other"
    return ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
