"""What commands print: results on standard output, all else on standard error.

A stream may be closed, its reader gone (`distprop list | head`), its disk full. What was done stays done: nothing that
is printed ends a command, but a result that is nowhere else.
"""

import json
import sys
from typing import Any

import click

from distprop.errors import ResourceError
from distprop.standard_streams import reader_gone, silence
from distprop.system_errors import explained


def remark(text: str) -> None:
    """A line on standard error; where that takes nothing, nobody is told."""
    try:
        click.echo(text, err=True)
    except (OSError, ValueError):
        silence(sys.stderr)


def result(text: str, nl: bool = True, kept: bool = False) -> None:
    """What was asked for, on standard output. A reader that is gone has read enough.

    kept: it is elsewhere, too, or is only what to do next. Otherwise raises ResourceError where it cannot be written.
    """
    try:
        click.echo(text, nl=nl)
    except (OSError, ValueError) as error:
        silence(sys.stdout)
        if reader_gone(error):
            return
        why = explained(error, "").why if isinstance(error, OSError) else str(error)
        if not kept:
            what = "the result cannot be written to standard output"
            raise ResourceError(what, why, "send the output to a place that takes it") from error
        remark(f"standard output takes nothing: {why}")


def print_json(value: Any, kept: bool = False) -> None:
    """Print `value` on stdout as one line of JSON; NaN must have become null before. kept: as for `result`."""
    result(json.dumps(value, allow_nan=False), kept=kept)
