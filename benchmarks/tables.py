"""Tables, in Markdown: for a terminal and for a page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def table(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table of `rows`; columns: key -> heading. A column that no row has is left out."""
    shown = {key: heading for key, heading in columns.items() if any(row.get(key) is not None for row in rows)}
    cells = [list(shown.values())]
    cells += [[text(row.get(key)) for key in shown] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(shown))]
    numeric = [all(_is_number(row.get(key)) for row in rows) for key in shown]
    lines = [_line(line, widths, numeric) for line in cells]
    rule = "|".join("-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True))
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def text(value: Any) -> str:
    """A value in a cell: three digits that count, nothing for what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return _digits(value)
    return str(value)


def share(value: float | None) -> str | None:
    """A share as per cent."""
    return None if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def plain(value: Any) -> Any:
    """The value for JSON: NaN and infinities are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def _digits(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return str(value)
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"
