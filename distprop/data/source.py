"""Where the rows are: Parquet files on any pyarrow filesystem, in a fixed order."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distprop.data.common_schema import common_schema, common_type
from distprop.data.finding import Value, find_files, folder_values
from distprop.data.samples import SAMPLE_SCHEME, sample_path
from distprop.data.tables import FOLDER_KEY
from distprop.errors import DataError
from distprop.system_errors import explained, withheld


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
    unusable: Mapping[str, str] = field(default_factory=dict)  # column -> why it cannot be read
    folders: tuple[Mapping[str, Value], ...] = ()  # of each file: values that its folders' names give, name=value

    @cached_property
    def rows(self) -> int:
        """How many rows all files have together."""
        return sum(group.rows for group in self.row_groups)

    @cached_property
    def _first_rows(self) -> list[int]:
        return [group.first_row for group in self.row_groups]

    def like(self, other: "Source") -> "Source":
        """The same, with columns in the types that `other` has, where these hold all values of its own."""
        schema = self.schema
        for place, own in enumerate(self.schema):
            kind = other.schema.field(own.name).type if own.name in other.schema.names else None
            if kind is not None and kind != own.type and common_type(kind, own.type) == kind:
                schema = schema.set(place, own.with_type(kind))
        return replace(self, schema=schema)

    def need(self, names: Iterable[str], what: str) -> None:
        """Raise DataError where one of the columns cannot be read. what: who needs it, in words."""
        for name in names:
            if name in self.unusable:
                raise DataError(
                    f"{what} needs column {name!r} of {self.name}, which cannot be read as one column",
                    self.unusable[name],
                    "rename or correct it when you write the files, or leave it out",
                )

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
        self.need(columns, f"reading {self.files[group.file]}")
        path, given = self.files[group.file], self.folders[group.file] if self.folders else {}
        stored = [name for name in columns if name not in given]
        try:
            with self.filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as parquet:
                table = parquet.read_row_group(group.index, columns=stored, use_threads=False)
        except (pa.ArrowException, OSError, MemoryError) as error:
            _raise_withheld(f"row group {group.index} of {path}", error)
            raise _unreadable(f"row group {group.index} of {path}", error) from error
        arrays = [
            pa.chunked_array([pa.array([given[name]] * group.rows, self.schema.field(name).type)])
            if name in given
            else self._cast(table.column(name), self.schema.field(name), group)
            for name in columns
        ]
        return pa.table(arrays, schema=pa.schema([self.schema.field(name) for name in columns]))

    def _cast(self, values: pa.ChunkedArray, wanted: pa.Field, group: RowGroup) -> pa.ChunkedArray:
        """The values in the type that the column has in all files, if it holds them exactly."""
        if values.type == wanted.type:
            return values
        try:
            return values.cast(wanted.type)
        except pa.ArrowException as error:
            raise DataError(
                f"column {wanted.name!r} of row group {group.index} of {self.files[group.file]} is {values.type}, and "
                f"{wanted.type} is what all files have in common",
                f"a value would change: {_first_line(error)}",
                "write the files with the same types",
            ) from error

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

    Folders named `column=value` give a column, as files of partitioned tables do. Columns that differ between files are
    found in `unusable`. Raises DataError: nothing there, not Parquet, truncated, a Delta or Iceberg table.
    """
    names = [paths] if isinstance(paths, str) else list(paths)
    if not names:
        raise DataError("no data files are named", "the list of paths is empty", "name a Parquet file or folder")
    real = [sample_path(name) if name.startswith(SAMPLE_SCHEME) else name for name in names]
    found = find_files(real)
    footers = [_footer(found.filesystem, path) for path in found.files]
    groups = _row_groups(footers)
    if not groups:
        raise DataError(f"{', '.join(names)} has no rows", "every file is empty", "write rows into it")
    schemas = [footer.schema.to_arrow_schema() for footer in footers]
    stored = {name for schema in schemas for name in schema.names}
    folders = folder_values(found, stored)
    schemas = [_with_folders(schema, values, folders) for schema, values in zip(schemas, folders, strict=True)]
    common = common_schema(found.files, schemas)
    return Source(
        ", ".join(names), found.filesystem, found.files, found.stamps, common.schema, groups, common.unusable, folders
    )


def _with_folders(schema: pa.Schema, values: Mapping[str, Value], folders: Sequence[Mapping[str, Value]]) -> pa.Schema:
    """The schema and the columns that folders give, marked as such: numbers where they are numbers in all folders."""
    for name in values:
        whole = all(isinstance(other.get(name), int | None) for other in folders)
        kind = pa.int64() if whole else pa.string()
        schema = schema.append(pa.field(name, kind, metadata={FOLDER_KEY: name}))
    return schema


def _raise_withheld(place: str, error: Exception) -> None:
    if isinstance(error, OSError | MemoryError) and withheld(error):
        raise explained(error, f"cannot read {place}") from error


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
    except (pa.ArrowException, OSError, MemoryError) as error:
        _raise_withheld(path, error)
        raise DataError(
            f"cannot read {path} as Parquet",
            f"{_first_line(error)} (not a Parquet file, or a truncated one)",
            f"write or download it again, or make Parquet of another format: `distprop import {path} --out FOLDER`",
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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
