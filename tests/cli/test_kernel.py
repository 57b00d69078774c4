"""A command starts anew with its kernel: before it reads the job, and after that only where the job wants another."""

import os
from collections.abc import Mapping, Sequence

import pytest

from distprop.cli import kernel
from distprop.numerics.kernel import KERNELS, MARK, choose, cpu_features

BEST = choose("auto", cpu_features())
LEAST = [name for name, one in KERNELS.items() if one.needs <= cpu_features()][-1]


class ReplacedError(Exception):
    """The process is another one from here on."""


def processes(wanted: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels of the processes that a command becomes, whose job wants a kernel."""
    begun = []

    def execve(_path: str, _words: Sequence[str], settings: Mapping[str, str]) -> None:
        begun.append(settings[MARK])
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        raise ReplacedError

    monkeypatch.setattr(os, "execve", execve)
    for _ in range(5):
        try:
            kernel.ready_for_most()
            kernel.ready(wanted)
        except ReplacedError:
            continue
        return begun
    raise AssertionError(f"it goes on for ever: {begun}")


def test_a_job_that_names_no_kernel_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MARK)
    assert processes("auto", monkeypatch) == [BEST]


@pytest.mark.skipif(LEAST == BEST, reason="this CPU has one kernel")
def test_a_job_that_names_another_kernel_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MARK)
    assert processes(LEAST, monkeypatch) == [BEST, LEAST]


def test_what_the_shell_presets_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    assert processes("auto", monkeypatch) == [BEST]


def test_a_command_in_a_process_that_is_ready_does_not_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes("auto", monkeypatch) == []
