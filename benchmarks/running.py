"""Runs the parts that are asked for, prints their tables, and writes them down."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cases import CASES
from benchmarks.part import Report, Settings
from benchmarks.tables import plain, table

PARTS = ("steps", "wire", "layers", "hosts", "transport", "scale", "data", "start", "accuracy")
Measure = Callable[[Settings], list[Report]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    asked = parser().parse_args(arguments)
    parts = list(dict.fromkeys(asked.parts)) or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser().error(f"there is no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    about = machine.describe()
    settings = Settings(tuple(asked.cases), asked.quick, say=_progress)
    reports: dict[str, list[Report]] = {}
    for part in parts:
        measure: Measure = import_module(f"benchmarks.{part}").measure
        reports[part] = measure(settings)
        print(page({part: reports[part]}, about if part == parts[0] else None), flush=True)
        if asked.json:  # after each part: what follows may fail
            write(Path(asked.json), reports, about)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    made.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    made.add_argument("--json", metavar="FILE", help="write the figures there, and the tables beside it as FILE.md")
    made.add_argument(
        "--cases", nargs="+", choices=sorted(CASES), default=sorted(CASES), help="the networks of `steps`"
    )
    made.add_argument("--quick", action="store_true", help="fewer rounds: shows that it works, figures are rough")
    return made


def page(reports: Mapping[str, Sequence[Report]], about: Mapping[str, Any] | None = None) -> str:
    """The tables, as Markdown."""
    lines = [f"{heading(about)}\n"] if about else []
    for report in (report for several in reports.values() for report in several):
        lines += [f"## {report.title}\n", table(report.rows, report.columns), ""]
        lines += [f"- {remark}" for remark in report.remarks]
        lines += [""]
    return "\n".join(lines)


def heading(about: Mapping[str, Any]) -> str:
    """What the figures are of, in a line or two."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    quiet = "others were using this machine" if about["shared"] else "the machine was quiet"
    loops = "compiled" if about["compiled"] else "not compiled"
    return (
        f"{about['cpu']}, {about['cores']} cores, kernel {about['kernel']}, {versions}, {about['started']}. "
        f"Load before: {about['load_before']}: {quiet}. distprop in {about['package']}, its loops {loops}."
    )


def write(path: Path, reports: Mapping[str, Sequence[Report]], about: Mapping[str, Any]) -> None:
    """The figures as JSON, a list a part; the tables beside them."""
    content = {
        "machine": about,
        **{part: [row for report in several for row in report.rows] for part, several in reports.items()},
    }
    path.write_text(json.dumps(plain(content), indent=1) + "\n")
    path.with_suffix(".md").write_text(page(reports, about))


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
