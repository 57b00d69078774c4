"""How a CSV file is written: what a person says of it, and what its first lines show."""

import gzip
from dataclasses import dataclass
from pathlib import Path

DELIMITERS = (",", ";", "\t", "|")
LINES = 20  # that are looked at


@dataclass(frozen=True)
class CsvOptions:
    """delimiter: None looks at the first lines. thousands: what stands between groups of three digits, or "".

    text: columns that are kept as they are written. null: texts that stand for a missing value, beside the usual ones.
    """

    delimiter: str | None = None
    decimal: str = "."
    thousands: str = ""
    text: tuple[str, ...] = ()
    null: tuple[str, ...] = ()


def find_delimiter(path: Path) -> str:
    """The character that stands equally often in each of the first lines, outside of quotes, or else in the header."""
    usual = "\t" if ".tsv" in path.suffixes else ","
    lines = _first_lines(path)
    if not lines:
        return usual
    counts = {one: [_outside_quotes(line).count(one) for line in lines] for one in dict.fromkeys((usual, *DELIMITERS))}
    even = [one for one, found in counts.items() if found[0] and len(set(found)) == 1]
    if even:
        return max(even, key=lambda one: (counts[one][0], one == usual))
    header = {one: found[0] for one, found in counts.items()}
    return usual if header[usual] or not any(header.values()) else max(header, key=lambda one: header[one])


def _first_lines(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = [file.readline(1 << 16).rstrip("\r\n") for _ in range(LINES)]
    except (OSError, EOFError):  # whoever reads it all says what is wrong
        return []
    return [line for line in lines if line.strip()]


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])
