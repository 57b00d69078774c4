"""Two processes never train in one folder of checkpoints: the second is refused, and told who is the first."""

import errno
import fcntl
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from distprop.cli import main
from distprop.config import load_job
from distprop.errors import CheckpointError
from distprop.training import resume
from distprop.training.run_lock import held
from tests.runtime.small import run, small_job, stop_at

HOLD = """
import sys
from distprop.training.run_lock import held
with held(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """One that holds the folder's lock, until it is killed at the latest with the block."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture
def job(rows: str, here: Path) -> dict[str, Any]:
    return small_job(rows, here / "kept")


def test_the_second_is_refused_and_told_who_is_the_first(job: dict[str, Any], here: Path) -> None:
    with another_process(here / "kept" / "nightly") as first:
        with pytest.raises(CheckpointError, match="another process trains in") as caught:
            run(job, run_key="nightly", resume="auto")
        assert f"process {first.pid} on host {socket.gethostname()}" in caught.value.why
        assert run(job, run_key="other").result.status == "finished"


def test_the_lock_dies_with_its_holder(job: dict[str, Any], here: Path) -> None:
    with another_process(here / "kept" / "nightly") as first:
        first.kill()
        first.wait()
    assert (here / "kept" / "nightly" / "lock").exists()
    assert run(job, run_key="nightly", resume="auto").result.status == "finished"
    assert not (here / "kept" / "nightly" / "lock").exists()


def test_resuming_what_is_under_way_is_refused_with_exit_code_2(job: dict[str, Any]) -> None:
    saved = Path(str(run(job, run_key="nightly", listeners=[stop_at(3)]).result.checkpoint))
    with another_process(saved.parent) as first:
        ran = CliRunner().invoke(main, ["resume", str(saved.parent), "--inline"])
    assert ran.exit_code == 2 and f"process {first.pid} on host" in ran.output
    assert resume(saved.parent, inline=True).status == "finished"


def test_one_process_cannot_train_there_twice_either(here: Path) -> None:
    with (
        held(str(here / "a")),
        pytest.raises(CheckpointError, match=f"process {os.getpid()}"),
        held(str(here / "a")),
    ):
        pass
    with held(str(here / "a")):
        pass


def test_whoever_ends_while_another_begins_leaves_one_holder(here: Path) -> None:
    """The file of a lock that was given back is another one than that which is taken next."""
    with ExitStack() as first:
        first.enter_context(held(str(here / "a")))
        late = os.open(here / "a" / "lock", os.O_RDWR)
        first.close()
        with held(str(here / "a")):
            fcntl.flock(
                late, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # what had opened the old file gets a lock that is nobody's
            with pytest.raises(CheckpointError), held(str(here / "a")):
                pass
        os.close(late)


def test_nothing_is_left_of_a_job_that_could_not_begin(job: dict[str, Any], here: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        run({**job, "data": {**job["data"], "train": "nowhere.parquet"}})
    assert not (here / "kept").exists()


def test_where_nothing_can_be_written_the_error_says_so(job: dict[str, Any], here: Path) -> None:
    (here / "kept").write_text("a file")
    with pytest.raises(CheckpointError, match="nothing can be written into") as caught:
        run(job, run_key="nightly")
    assert caught.value.why and "checkpoint.dir" in caught.value.fix


def test_a_filesystem_without_locks_is_told_of(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with caplog.at_level(logging.WARNING, "distprop"), held(str(here / "a")):
        assert "has no locks" in caplog.text


@pytest.mark.parametrize("name", ["..", ".", "../elsewhere", "a/b", "/tmp/a", "a\\b", "a\nb", " ", "x" * 201, "s3://a"])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, job: dict[str, Any], here: Path) -> None:
    with pytest.raises(Exception, match="cannot be the name"):
        load_job({**job, "name": name})
    (here / "job.yaml").write_text(load_job(job).to_yaml())
    ran = CliRunner().invoke(main, ["train", "job.yaml", "--inline", "--run-key", name])
    assert ran.exit_code == 2 and "cannot be a run key" in ran.output
    assert sorted(one.name for one in here.iterdir()) == ["job.yaml"]


@pytest.mark.parametrize("name", ["mnist-mlp", "Über uns", "a..b", ".hidden", "x" * 200])
def test_other_names_are_folders(name: str, job: dict[str, Any], here: Path) -> None:
    saved = run({**job, "name": name}, run_key=name, listeners=[stop_at(1)]).result.checkpoint
    assert Path(str(saved)).parent == here / "kept" / name
