"""Printing where standard output or standard error is closed, full, or nobody reads it: in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

GIVES = "from distprop.cli.output import result; result('the result')"
REMARKS = "from distprop.cli.output import remark; remark('a remark')"
KEPT = "from distprop.cli.output import result; result('the result', kept=True)"
AS_A_COMMAND = """
import sys, click
from distprop.cli import main

@main.command()
def play():
    {}

sys.argv = ["distprop", "play"]
main(prog_name="distprop")
"""


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def gone() -> int:
    """A pipe whose reader is gone."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


def played(code: str, number: int, stream: Callable[[], int] | None, encoding: str = "utf-8") -> tuple[int, str, str]:
    """The exit code, and what is on the two streams, of a command whose stream `number` is `stream`; None: closed."""
    program = [sys.executable, "-c", AS_A_COMMAND.format(code)]
    if stream is None:
        program = ["sh", "-c", f'exec "$@" {number}>&-', "sh", *program]
    given = {} if stream is None else {("stdout", "stderr")[number - 1]: stream()}
    try:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        ran = subprocess.run(
            program, **{**pipes, **given}, env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": ""}
        )
    finally:
        for one in given.values():
            os.close(one)
    return ran.returncode, (ran.stdout or b"").decode(), (ran.stderr or b"").decode()


@pytest.mark.parametrize("stream", [None, gone, full], ids=["closed", "gone", "full"])
def test_a_remark_that_nobody_hears_changes_nothing(stream) -> None:
    assert played(f"{REMARKS}; {GIVES}", 2, stream) == (0, "the result\n", "")


@pytest.mark.parametrize("stream", [None, gone], ids=["closed", "gone"])
def test_who_does_not_read_the_result_has_read_enough(stream) -> None:
    assert played(f"{GIVES}; {REMARKS}", 1, stream) == (0, "", "a remark\n")


def test_a_result_that_is_lost_is_told() -> None:
    code, _, told = played(GIVES, 1, full)
    assert code == 1 and "why: the disk is full" in told and "mistake" not in told and "Traceback" not in told


def test_a_result_that_is_kept_elsewhere_may_be_lost_on_the_way_to_a_person() -> None:
    assert played(KEPT, 1, full) == (0, "", "standard output takes nothing: the disk is full\n")


def test_what_is_printed_past_us_does_not_change_the_exit_code_either() -> None:
    """At its end Python writes what waits, and ends with 120 where it cannot."""
    assert played("print('x')", 1, full)[0] == 0
    assert played("import sys; sys.stderr.write('x')", 2, full)[0] == 0


def test_a_pipe_that_breaks_elsewhere_is_not_taken_for_a_reader_who_has_enough() -> None:
    code, _, told = played("raise BrokenPipeError(32, 'Broken pipe')", 1, gone)
    assert code != 0 and "error: " in told and "mistake" not in told


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    opened = "import os; result(str(os.open('/dev/null', os.O_RDONLY) > 2))"
    assert played(f"from distprop.cli.output import result; {opened}", 2, None) == (0, "True\n", "")


def test_characters_that_a_terminal_lacks_are_described() -> None:
    code, out, _ = played("from distprop.cli.output import result; result('\\u20ac \\udcff')", 2, None, "latin-1")
    assert (code, out) == (0, "\\u20ac \\udcff\n")


@pytest.mark.parametrize("stream", [None, gone, full], ids=["closed", "gone", "full"])
def test_help_to_nowhere_is_no_traceback(stream) -> None:
    program = "from distprop.cli import main; main(['--help'], prog_name='distprop')"
    told = played(program, 1, stream)[2]
    assert "Traceback" not in told and "mistake" not in told
