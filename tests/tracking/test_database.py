"""A store's file is made whole or not at all, by one process at a time, and is looked at before it is used."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from distprop.errors import AddressError
from distprop.tracking import database
from distprop.tracking.address import make_client, preflight

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning", "ignore:.*inferred as AnyType"
)

FIRST_JOB = """
import sys
from distprop.tracking.spool import SpoolJob
from distprop.tracking.store import MlflowStore
print("begins", flush=True)
store = MlflowStore("sqlite:///mlflow.db")
print(store.connect(SpoolJob(store.uri, "exp", "small", sys.argv[1], 1_700_000_000_000), None).run_id, flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Starts first jobs in an empty folder; ends those that a failed test left."""
    started = []

    def one(token):
        words = [sys.executable, "-c", FIRST_JOB, token]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(words, cwd=tmp_path, env=environment, **pipes))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.communicate()


def made(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.timeout(180)
def test_three_first_jobs_at_once_have_three_runs_in_one_store(start, tmp_path):
    jobs = [start(token) for token in "abc"]
    outputs = [job.communicate(timeout=150) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], outputs
    runs = {out.split()[1] for out, _ in outputs}
    assert len(runs) == 3
    client = make_client(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("exp").experiment_id
    assert {run.info.run_id for run in client.search_runs([experiment])} == runs
    assert made(tmp_path) == ["mlflow.db"]


@pytest.mark.timeout(180)
def test_a_first_job_that_is_killed_while_it_makes_the_tables_leaves_no_store_and_the_next_one_makes_it(
    start, tmp_path
):
    killed = start("a")
    end = time.monotonic() + 90
    while not (begun := list(tmp_path.glob("*mlflow.db*"))) or not begun[0].stat().st_size:
        assert time.monotonic() < end
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    assert not (tmp_path / "mlflow.db").exists()
    preflight(f"sqlite:///{tmp_path}/mlflow.db")
    database.make(tmp_path / "mlflow.db")
    assert make_client(f"sqlite:///{tmp_path}/mlflow.db").search_experiments()
    assert made(tmp_path) == ["mlflow.db"], "what the killed one left is gone"


def change(file, *statements):
    with closing(sqlite3.connect(file)) as opened, opened:
        for statement in statements:
            opened.execute(statement)


@pytest.fixture
def file(tmp_path, new_store):
    return Path(shutil.copy(new_store, tmp_path / "mlflow.db"))


@pytest.mark.parametrize(
    "done",
    [
        ["DELETE FROM alembic_version"],
        ["DROP TABLE alembic_version"],
        ["UPDATE alembic_version SET version_num='451aebb31d03'"],
    ],
)
def test_a_half_made_store_is_known_and_the_message_says_how_to_mend_it(file, done):
    change(file, *done, "DELETE FROM experiments")
    for use in (preflight, make_client):
        with pytest.raises(AddressError, match="half made") as caught:
            use(f"sqlite:///{file}")
        assert f"rm {file}" in caught.value.fix
    file.unlink()
    preflight(f"sqlite:///{file}")


@pytest.mark.parametrize(
    ("revision", "fix"), [("451aebb31d03", "mlflow db upgrade"), ("ffffffffffff", "pip install --upgrade mlflow")]
)
def test_a_store_of_another_version_of_mlflow_is_said_before_anything_begins(file, revision, fix):
    change(file, f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(AddressError, match="another version of MLflow") as caught:
        preflight(f"sqlite:///{file}")
    assert fix in caught.value.fix


def test_a_damaged_file_is_said_before_anything_begins(file):
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"\xff" * 8000)
    with pytest.raises(AddressError, match="cannot be read"):
        preflight(f"sqlite:///{file}")


def test_a_deleted_experiment_is_said_before_anything_begins(file):
    change(file, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'Default'")
    with pytest.raises(AddressError, match="was deleted") as caught:
        preflight(f"sqlite:///{file}")
    assert "mlflow experiments restore --experiment-id 0" in caught.value.fix
    preflight(f"sqlite:///{file}", "another")


def test_the_schema_of_the_installed_mlflow_is_found(file):
    """Else every store would pass: the files are MLflow's own, and may move."""
    newest, known = database._schemas()
    assert newest in known
    assert database._read(file, None).revision == newest


def test_a_store_that_another_maker_has_named_in_between_is_kept(file, tmp_path):
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"another")
    before = file.stat().st_ino
    database._give_name(fresh, file)
    assert file.stat().st_ino == before


def test_a_place_that_takes_no_file_is_said_with_what_to_do(tmp_path):
    with pytest.raises(AddressError, match="cannot be made") as caught:
        database.make(tmp_path / "missing" / "mlflow.db")
    assert "tracking.uri" in caught.value.fix
