"""A stand-in for `distprop.training`, so that commands are tested for what they ask and print."""

import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import distprop
from distprop.cli import kernel, main
from tests.cli.test_console import RESULT

CONFIGS = Path(__file__).parents[2] / "configs"


class Training(types.ModuleType):
    """Remembers how it was called; answers with `result`, or raises it."""

    def __init__(self):
        super().__init__("distprop.training")
        self.calls, self.result, self.checks, self.description = [], RESULT, [], None

    def train(self, job, **words):
        return self._answer("train", job, words)

    def resume(self, run, **words):
        return self._answer("resume", run, words)

    def find_rate(self, job, **words):
        return self._answer("find_rate", job, words)

    def describe(self, job):
        self.calls.append(("describe", job, {}))
        return self.description

    def check(self, job, **words):
        self.calls.append(("check", job, words))
        yield from self.checks

    def job_of(self, run):  # noqa: ARG002
        from distprop.config import load_job

        return load_job(CONFIGS / "digits.yaml")

    def _answer(self, *call):
        self.calls.append(call)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    def ends_as(self, status):
        self.result = replace(RESULT, status=status)


@pytest.fixture
def training(monkeypatch):
    made = Training()
    monkeypatch.setitem(sys.modules, "distprop.training", made)
    monkeypatch.setattr(distprop, "training", made, raising=False)
    return made


@pytest.fixture
def kernels(monkeypatch):
    asked = []
    monkeypatch.setattr(kernel, "ready", asked.append)
    return asked


@pytest.fixture
def run(kernels):  # noqa: ARG001 - no test process starts itself anew
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])
