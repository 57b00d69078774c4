"""Training in a child: the same bits whatever the parent has loaded, events in the parent, and no orphans."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from distprop import events
from distprop.config import load_job
from distprop.errors import DataError, LostError, TrainingError
from distprop.model import load_model
from distprop.training import errand, frames
from distprop.training.child import run_in_child
from distprop.training.errand import portable
from distprop.training.request import Request
from tests.runtime.small import run, small_job, stop_at, table

LONG = {"steps": 100_000, "evaluate_every": None}  # no test waits for its end
CALLER = """
import os, sys
os.environ.update(OPENBLAS_CORETYPE="Nehalem", OPENBLAS_NUM_THREADS="2", PYTHONPATH="")
os.environ.pop("DISTPROP_KERNEL", None)
import numpy, json
import distprop as dp
job = json.loads(sys.argv[1])
class Seen(list):  # lives in __main__, without a guard
    def __call__(self, event): self.append(type(event).__name__); print(self[-1], os.getpid(), flush=True)
seen = Seen()
result = dp.train(job, inline=True, listeners=[seen])
print(json.dumps([result.status, result.steps, result.digest, result.metrics, len(seen)]))
"""


def asked(job: dict[str, Any], **words: Any) -> Request:
    return Request(load_job(job, in_memory="data" in words), workers=2, servers=2, inline=True, **words)


def environment_of_another_shell() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DISTPROP_KERNEL"}


def caller(job: dict[str, Any], here: Path) -> "subprocess.Popen[str]":
    """A script that trains, in a shell that presets another kernel; found by a path that it sets itself."""
    settings = {**environment_of_another_shell(), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CALLER, json.dumps(job)]
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=settings, cwd=here)


def wait_for(what: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_child_gives_the_bits_and_tells_the_events_of_training_here(rows: str, here: Path) -> None:
    """Its rows come from memory, and are written where both can read them."""
    job, told = small_job(rows, here), list[events.Event]()
    expected = run(job, 2, (0, 1))
    job["data"].pop("train")
    result = run_in_child(asked(job, data=table()), [told.append])
    assert (result.digest, result.metrics) == (expected.result.digest, expected.result.metrics)
    assert [type(event) for event in told] == [type(event) for event in expected.told]


@pytest.mark.scenario
def test_a_script_under_another_kernel_gives_the_same_bits(rows: str, here: Path) -> None:
    out, err = caller(small_job(rows, here), here).communicate(timeout=60)
    assert out, err
    status, steps, digest, metrics, heard = json.loads(out.splitlines()[-1])
    expected = run(small_job(rows, here)).result
    assert (status, steps, digest, metrics) == ("finished", 10, expected.digest, dict(expected.metrics))
    assert heard > 10 and err == ""


def test_a_listener_that_has_enough_stops_the_child_once(rows: str, here: Path) -> None:
    result = run_in_child(asked(small_job(rows, here, train=LONG)), [stop_at(20)])
    assert result.status == "interrupted" and result.checkpoint is not None
    assert int(Path(result.checkpoint).name) == result.steps >= 20
    assert load_model(result.model_uri).metadata["version"] == result.steps


def test_errors_come_out_as_they_are(here: Path) -> None:
    with pytest.raises(DataError) as caught:
        run_in_child(asked(small_job("nowhere.parquet", here)))
    assert "nowhere.parquet does not exist" in caught.value.what and caught.value.fix


def test_a_child_that_dies_is_a_lost_process(rows: str, here: Path) -> None:
    def kill(event: events.Event) -> None:
        if isinstance(event, events.StepEnded):
            (child,) = set(children_of(os.getpid())) - others
            os.kill(child, signal.SIGKILL)

    others = set(children_of(os.getpid()))
    with pytest.raises(LostError, match="killed by signal 9"):
        run_in_child(asked(small_job(rows, here, train=LONG)), [kill])


def test_a_signal_to_the_parent_saves_and_ends_the_child(rows: str, here: Path) -> None:
    def interrupt(event: events.Event) -> None:
        if isinstance(event, events.StepEnded) and event.version == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    result = run_in_child(asked(small_job(rows, here, train=LONG)), [interrupt])
    assert result.status == "interrupted" and result.steps >= 20
    assert result.model_uri is None, "who sends a signal may not wait for a model"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.scenario
def test_a_child_does_not_outlive_its_parent_and_saves(rows: str, here: Path) -> None:
    job = small_job(rows, here / "kept", train=LONG, checkpoint__every=None)
    parent = caller(job, here)
    assert parent.stdout is not None
    while "StepEnded" not in parent.stdout.readline():
        assert parent.poll() is None
    (child,) = children_of(parent.pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])
    assert list(here.glob("kept/*/0*/manifest.json"))
    for pipe in (parent.stdout, parent.stderr):
        assert pipe is not None
        pipe.close()


class UnforeseenError(Exception):
    def __init__(self, *, code: int) -> None:  # cannot be rebuilt from its arguments
        super().__init__(f"code {code}")


def test_an_error_that_cannot_travel_is_told_in_words() -> None:
    error = portable(UnforeseenError(code=3))
    assert isinstance(error, TrainingError) and "UnforeseenError: code 3" in error.what


def test_an_error_that_nobody_foresaw_brings_its_traceback() -> None:
    try:
        raise KeyError("a mistake")
    except KeyError as mistake:
        error = portable(mistake)
    assert isinstance(error, KeyError) and "test_child.py" in error.__notes__[0]


@pytest.mark.parametrize("cut", [0, 3, 8, 12])
def test_a_frame_that_is_cut_off_is_no_value(cut: int) -> None:
    framed = frames.frame(["a value", 1])
    assert frames.read(io.BytesIO(framed)) == (["a value", 1],)
    assert frames.read(io.BytesIO(framed[:cut])) == ()


def test_all_work_that_can_be_asked_for_is_there() -> None:
    for place in errand.WORK.values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))
