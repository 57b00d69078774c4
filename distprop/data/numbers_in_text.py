"""Text columns of an imported file that are meant to be numbers: read as such where that is safe, else told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distprop.data.csv_options import CsvOptions

NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
WHOLE = r"^[-+]?\d{1,18}$"
GROUPED = r"^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$"
COMMA = r"^[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+$"
ZERO = r"^[-+]?0\d"
ODD = 0.02  # share of cells that may be no numbers in a column of numbers
FEW = 20  # cells say too little
SHOWN = 3  # different odd texts that are few enough to stand for "missing"
Say = Callable[[str], None]


@dataclass
class Cells:
    """What a text column holds: how many cells of each kind, and the first one of it with its row."""

    cells: int = 0
    numbers: int = 0
    whole: int = 0
    zeros: int = 0
    grouped: int = 0
    comma: int = 0
    odd: dict[str, int] = field(default_factory=dict)  # text -> first row; of a few texts
    first: dict[str, tuple[str, int]] = field(default_factory=dict)  # kind -> (text, row)

    def add(self, values: pa.ChunkedArray, options: CsvOptions, start: int) -> None:
        """Look at more cells; `start` is the row of the first one."""
        clean = _clean(values, options)
        is_number = pc.match_substring_regex(clean, NUMBER)
        self.cells += len(values) - values.null_count
        self.numbers += _count(is_number)
        self.whole += _count(pc.match_substring_regex(clean, WHOLE))
        grouped, odd = pc.match_substring_regex(clean, GROUPED), pc.invert(is_number)
        comma = pc.and_(pc.match_substring_regex(clean, COMMA), pc.invert(grouped))
        self.zeros += _count(pc.match_substring_regex(clean, ZERO))
        self.grouped += _count(grouped)
        self.comma += _count(comma)
        self._note("grouped", grouped, values, start)
        self._note("comma", comma, values, start)
        self._note("odd", odd, values, start)
        for text in pc.unique(values.filter(pc.fill_null(odd, False))).to_pylist()[: SHOWN + 1]:
            self.odd.setdefault(text, start)

    def _note(self, kind: str, found: pa.ChunkedArray, values: pa.ChunkedArray, start: int) -> None:
        at = pc.index(found, True).as_py()
        if at >= 0:
            self.first.setdefault(kind, (values[at].as_py(), start + at))

    def where(self, kind: str) -> str:
        """The first cell of a kind, in words."""
        text, row = self.first[kind]
        return f"{text!r} in row {row}"

    @property
    def strange(self) -> int:
        """Cells that are no numbers."""
        return self.cells - self.numbers


def read_numbers(path: Path, options: CsvOptions, rows_per_group: int, say: Say) -> None:
    """Rewrite the Parquet file at `path` with numbers in the columns that are meant to be; see `_verdict`."""
    seen = _look(path, options)
    kinds = {name: kind for name, cells in seen.items() if (kind := _verdict(name, cells, say)) is not None}
    if not kinds:
        return
    part = path.with_name(path.name + ".numbers")
    try:
        _rewrite(path, part, kinds, options, rows_per_group)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _look(path: Path, options: CsvOptions) -> dict[str, Cells]:
    schema = pq.read_schema(path)
    names = [one.name for one in schema if pa.types.is_string(one.type) and schema.names.count(one.name) == 1]
    seen = {name: Cells() for name in names if name not in options.text}
    row = 0
    for table in _groups(path, list(seen)) if seen else ():
        for name, cells in seen.items():
            cells.add(table.column(name), options, row)
        row += table.num_rows
    return seen


def _verdict(name: str, cells: Cells, say: Say) -> pa.DataType | None:
    """The type of numbers to read a column as, or None to leave it as text; says what changes and what does not."""
    if cells.numbers + cells.grouped + cells.comma < max(1, cells.cells / 2):
        return None
    if cells.comma or cells.grouped:
        say(f"column {name!r} stays text: {_separated(cells)} reads it as a number")
        return None
    if cells.zeros:
        return None
    if cells.strange and (cells.cells < FEW or cells.strange > max(1, ODD * cells.cells)):
        null = f"; `--null {' --null '.join(map(repr, cells.odd))}` makes them missing values"
        say(
            f"column {name!r} stays text: {cells.strange:,} of its {cells.cells:,} cells are no numbers, as "
            f"{cells.where('odd')}{null if len(cells.odd) <= SHOWN else ''}"
        )
        return None
    if cells.strange:
        say(
            f"column {name!r}: {cells.strange:,} of its {cells.cells:,} cells became null, as {cells.where('odd')} is "
            f"no number; `--text {name}` keeps all of them as text"
        )
    return pa.int64() if cells.whole == cells.numbers else pa.float64()


def _separated(cells: Cells) -> str:
    """The first cell with a decimal comma or groups of thousands, and the options for it."""
    if not cells.comma:
        return f"{cells.where('grouped')} has groups of thousands, and `--thousands ,`"
    groups = " --thousands ." if "." in cells.first["comma"][0] else ""
    return f"{cells.where('comma')} has a decimal comma, and `--decimal ,{groups}`"


def _rewrite(path: Path, part: Path, kinds: dict[str, pa.DataType], options: CsvOptions, rows_per_group: int) -> None:
    schema = pq.read_schema(path)
    for name, kind in kinds.items():
        schema = schema.set(schema.get_field_index(name), pa.field(name, kind))
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for table in _groups(path, None):
            arrays = [
                _numbers(column, kinds[name], options) if name in kinds else column
                for name, column in zip(table.column_names, table.columns, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=rows_per_group)


def _groups(path: Path, names: list[str] | None) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=names)


def _numbers(values: pa.ChunkedArray, kind: pa.DataType, options: CsvOptions) -> pa.ChunkedArray:
    clean = _clean(values, options)
    fits = pc.match_substring_regex(clean, NUMBER)
    return pc.if_else(fits, pc.replace_substring_regex(clean, r"^\+", ""), None).cast(kind)


def _clean(values: pa.ChunkedArray, options: CsvOptions) -> pa.ChunkedArray:
    """Texts without spaces around them and without what stands between thousands, with a decimal point."""
    clean = pc.utf8_trim_whitespace(values)
    if options.thousands:
        point = rf"\{options.decimal}"
        shape = rf"^[-+]?\d{{1,3}}(\{options.thousands}\d{{3}})+({point}\d+)?$"
        grouped = pc.match_substring_regex(clean, shape)
        clean = pc.if_else(grouped, pc.replace_substring(clean, options.thousands, ""), clean)
    if options.decimal != ".":
        decimal = pc.match_substring_regex(clean, rf"^[-+]?\d*\{options.decimal}\d+([eE][-+]?\d+)?$")
        clean = pc.if_else(decimal, pc.replace_substring(clean, options.decimal, "."), clean)
    return clean


def _count(found: pa.ChunkedArray) -> int:
    return int(pc.sum(found).as_py() or 0)


def tell_lost_zeros(tables: Iterator[pa.Table], say: Say) -> None:
    """Say which columns of numbers are written with leading zeros, which numbers do not keep. tables: as written."""
    told: set[str] = set()
    row = 0
    for table in tables:
        for name in table.column_names:
            at = -1 if name in told else pc.index(pc.match_substring_regex(table.column(name), ZERO), True).as_py()
            if at >= 0:
                told.add(name)
                text = table.column(name)[at].as_py()
                say(
                    f"column {name!r} is read as numbers: {text!r} in row {row + at} loses its leading zero; "
                    f"`--text {name}` keeps it as text"
                )
        row += table.num_rows
