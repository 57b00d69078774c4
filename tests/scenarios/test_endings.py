"""How a training ends is what the exit code, the run and the next command say, whatever ended it."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.scenarios.conftest import Command, Desk
from tests.scenarios.looking import MLFLOWS_OWN, client, the_run
from tests.scenarios.making import job, write_rows

pytestmark = [pytest.mark.scenario, pytest.mark.filterwarnings(*MLFLOWS_OWN)]

HERE = ("--inline",)
ON_RAY = ("--workers", "2", "--servers", "2")
PLACES = [pytest.param(HERE, id="inline"), pytest.param(ON_RAY, id="ray", marks=pytest.mark.ray)]


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the training that nothing happens to."""
    from distprop.training import train

    folder = tmp_path_factory.mktemp("undisturbed")
    write_rows(folder / "rows.parquet")
    undisturbed = job(
        data={"train": str(folder / "rows.parquet")}, checkpoint={"dir": str(folder)}, tracking={"enabled": False}
    )
    result = train(undisturbed, inline=True)
    assert result.digest is not None
    return result.digest


def begin(desk: Desk, store: Path, *words: str) -> Command:
    """Start the training, and wait until it is in the middle of an epoch, with a checkpoint behind it.

    Not a first run: its store is a copy. The first run, which makes its own, is that of the loss that is no number.
    """
    shutil.copy(store, desk.folder / "mlflow.db")
    write_rows(desk.folder / "rows.parquet")
    desk.write("job.yaml", job())
    command = desk.start("train", "job.yaml", *words)
    command.wait_for(desk.checkpoints, "the first checkpoint")
    return command


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_keeps_everything_and_is_resumed(
    number: signal.Signals, place: tuple[str, ...], digest: str, desk: Desk, new_store: Path
) -> None:
    command = begin(desk, new_store, "--json", *place)
    if number == signal.SIGINT:
        command.interrupt()
    else:
        os.kill(command.process.pid, number)
    ended = command.wait()
    assert ended.code == 130, ended
    assert "Traceback" not in ended.err
    stopped = ended.json
    assert stopped["status"] == "interrupted"
    assert stopped["digest"] is None
    assert stopped["steps"] == desk.checkpoints()[-1]
    assert f"distprop resume {stopped['run_id']}" in ended.err
    assert the_run(desk.folder).info.status == "KILLED"

    again = desk.run("resume", stopped["run_id"], "--inline", "--json")
    assert again.code == 0, again
    assert again.json["digest"] == digest
    assert again.json["run_id"] == stopped["run_id"]
    run = the_run(desk.folder)
    assert (run.info.status, run.data.tags["distprop.digest"]) == ("FINISHED", digest)
    losses = client(desk.folder).get_metric_history(run.info.run_id, "train/loss")
    steps = [point.step for point in losses]
    assert steps == sorted(set(steps)), "no step is there twice"


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_damaged_meanwhile_fails_the_run(place: tuple[str, ...], desk: Desk, new_store: Path) -> None:
    command = begin(desk, new_store, *place)
    rows = desk.folder / "rows.parquet"
    rows.write_bytes(b"PAR1" + bytes(rows.stat().st_size - 8) + b"PAR1")
    ended = command.wait()
    assert ended.code == 1, ended
    assert ended.err.count("error: ") == 1, ended.err
    assert all(part in ended.err for part in ("rows.parquet", "why: ", "fix: "))
    assert "Traceback" not in ended.err
    run = the_run(desk.folder)
    assert run.info.status == "FAILED"
    assert "rows.parquet" in run.data.tags["distprop.why"]


@pytest.mark.parametrize("place", PLACES)
def test_a_loss_that_is_no_number_fails_the_run(place: tuple[str, ...], desk: Desk) -> None:
    write_rows(desk.folder / "rows.parquet")
    desk.write("job.yaml", job(optimizer={"sgd": {"learning_rate": 1e30}}, train={"epochs": 4}))
    ended = desk.run("train", "job.yaml", *place)
    assert ended.code == 1, ended
    assert "the loss became nan" in ended.err
    assert "fix: lower the learning rate" in ended.err
    assert "Traceback" not in ended.err
    assert the_run(desk.folder).info.status == "FAILED"


@pytest.mark.parametrize("place", PLACES)
def test_killed_without_warning_a_retry_goes_on_and_a_third_call_knows_the_result(
    place: tuple[str, ...], digest: str, desk: Desk, new_store: Path
) -> None:
    keyed = ("train", "job.yaml", "--run-key", "nightly", "--resume", "auto", "--json")
    command = begin(desk, new_store, "--run-key", "nightly", *place)
    os.kill(command.process.pid, signal.SIGKILL)
    command.process.wait()
    wait_for_nobody(desk)
    assert not left_behind(desk)
    reached = desk.checkpoints()[-1]

    retried = desk.run(*keyed, "--inline")
    assert retried.code == 0, retried
    assert f"from step {reached}" in retried.err
    assert retried.json["digest"] == digest
    run = the_run(desk.folder)
    assert (run.info.run_id, run.info.status) == (retried.json["run_id"], "FINISHED")

    known = desk.run(*keyed, *place)
    assert known.code == 0, known
    assert known.json == retried.json
    assert the_run(desk.folder).info.run_id == run.info.run_id


def wait_for_nobody(desk: Desk) -> None:
    """No process of the job outlives its driver for long."""
    end = time.monotonic() + 90.0  # Ray ends its own agents in its own time
    while desk.alive():
        assert time.monotonic() < end, f"still alive: {[command_of(number) for number in desk.alive()]}"
        time.sleep(0.1)


def command_of(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()[:100]
    except OSError:
        return ""


def left_behind(desk: Desk) -> list[str]:
    """What distprop leaves in the places that all processes share. Ray's own folder is another matter."""
    shared = [*Path("/dev/shm").iterdir(), *Path(desk.variables["TMPDIR"]).iterdir()]
    return [str(path) for path in shared if "distprop" in path.name]


SLOW_PICTURES = """
import sys, time
from distprop.tracking.store import MlflowStore
MlflowStore.picture = lambda *_: time.sleep(60)
from distprop.cli import main
main(["train", "job.yaml", "--inline"], prog_name="distprop")
"""


def test_asked_to_end_and_killed_three_seconds_later_leaves_no_run_that_seems_to_run(
    desk: Desk, new_store: Path
) -> None:
    """As `ray job stop` ends a job."""
    shutil.copy(new_store, desk.folder / "mlflow.db")
    write_rows(desk.folder / "rows.parquet")
    desk.write("job.yaml", job(train={"epochs": 5000}))
    command = desk.start_python("-c", SLOW_PICTURES)
    command.wait_for(lambda: list(desk.folder.glob("checkpoints/*/spool/*/state.json")), "the run is there")
    command.wait_for(desk.checkpoints, "the first checkpoint")
    os.kill(command.process.pid, signal.SIGTERM)
    time.sleep(3.0)
    os.killpg(command.process.pid, signal.SIGKILL)
    command.process.wait()
    assert "Traceback" not in command.err.read_text()
    assert the_run(desk.folder).info.status == "KILLED"
