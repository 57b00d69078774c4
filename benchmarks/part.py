"""What all parts of the benchmarks share: what was asked for, and the table that comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to measure. quick: fewer rounds and sizes, to see that it works; its figures are rough."""

    cases: tuple[str, ...] = ("A", "B", "C", "D", "E")
    quick: bool = False
    workers: int = 2
    say: Say = print

    @property
    def rounds(self) -> int:
        """How often the sides take turns."""
        return 2 if self.quick else 4


@dataclass
class Report:
    """A part's figures: rows for JSON, the columns of its table (key -> heading), remarks below it."""

    title: str
    columns: Mapping[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
