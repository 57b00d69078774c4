"""How commands fail: what / why / fix on stderr, and an exit code that scripts can trust.

0 done, 1 training failed or a mistake of ours, 2 the user's input was wrong, 130 interrupted.
"""

import traceback

import click

from distprop.cli.output import remark
from distprop.errors import DistpropError, UserError
from distprop.system_errors import explained

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = {"finished": DONE, "failed": FAILED, "interrupted": INTERRUPTED}


def fail(error: BaseException, debug: bool) -> int:
    """Say on stderr what went wrong, and return the exit code. A traceback is shown with `debug` only."""
    if debug:
        remark("".join(traceback.format_exception(error)))
    if isinstance(error, KeyboardInterrupt | click.Abort):
        remark("interrupted")
        return INTERRUPTED
    say(error if isinstance(error, DistpropError) else _unforeseen(error))
    return WRONG_INPUT if isinstance(error, UserError) else FAILED


def say(error: DistpropError) -> None:
    """Print an error's three sentences on stderr, the first of them standing out on a terminal."""
    remark(click.style("error: ", fg="red", bold=True) + click.style(error.what, bold=True))
    for label, text in (("why", error.why), ("fix", error.fix)):
        if text:
            remark(f"  {label}: {text}")


def _unforeseen(error: BaseException) -> DistpropError:
    """What the operating system refused where nobody expected it is still no mistake of ours."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
        return explained(error, "the operating system refused what the command needs")
    return DistpropError(
        f"{type(error).__name__}: {error}",
        "nothing in distprop expects this error: it is a mistake in distprop, or in a module that the job names",
        "run the same command with --debug to see where it happened",
    )
