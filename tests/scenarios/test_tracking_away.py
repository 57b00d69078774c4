"""A tracking server that goes away while a job runs costs nothing: training ends well, its records wait and arrive."""

import json
import os
import signal
import socket
import urllib.request
from contextlib import suppress

import pytest

from distprop.tracking.address import make_client
from tests.scenarios.conftest import LIMIT, Command, Desk
from tests.scenarios.looking import MLFLOWS_OWN
from tests.scenarios.making import job, write_rows

pytestmark = [pytest.mark.scenario, pytest.mark.filterwarnings(*MLFLOWS_OWN)]


def free_port() -> int:
    """A port that nobody listens at, and that stays free: it is none of those that are given out by chance."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all ports are taken")


def serve(desk: Desk, port: int) -> Command:
    """An MLflow server that answers, without the eight processes that it starts for jobs of its own."""
    words = ("--host", "127.0.0.1", "--port", port, "--workers", "1", "--backend-store-uri", "sqlite:///server.db")
    words = ("-m", "mlflow", "server", *words, "--artifacts-destination", "kept")
    server = desk.start_python(*words, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    server.wait_for(lambda: answers(port), "the server answers")
    return server


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2.0) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def stop(server: Command) -> None:
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(LIMIT)


def known_run(desk: Desk) -> str | None:
    """The run that the server has given to the job, once it has."""
    for state in desk.folder.glob("checkpoints/*/spool/*/state.json"):
        found: str | None = json.loads(state.read_text())["run_id"]
        return found
    return None


@pytest.mark.timeout(300)
def test_a_server_that_goes_away_gets_its_records_later(desk: Desk) -> None:
    port = free_port()
    write_rows(desk.folder / "rows.parquet")
    desk.write("job.yaml", job(train={"epochs": 80}, tracking={"uri": f"http://127.0.0.1:{port}"}))
    server = serve(desk, port)
    command = desk.start("train", "job.yaml", "--inline", "--json")
    run_id = command.wait_for(lambda: known_run(desk), "the run is there")
    stop(server)
    assert command.process.poll() is None, "the server went away in the middle"
    ended = command.wait()
    assert ended.code == 0, ended
    result = ended.json
    assert (result["status"], result["run_id"]) == ("finished", run_id)
    assert f"next: distprop sync {run_id}" in ended.err
    assert "records wait" in ended.err
    assert "Traceback" not in ended.err

    again = serve(desk, port)
    sent = desk.run("sync", run_id)
    assert sent.code == 0, sent
    assert not list(desk.folder.glob("checkpoints/*/spool/*"))
    stop(again)
    asked = make_client(f"sqlite:///{desk.folder / 'server.db'}")
    run = asked.get_run(run_id)
    assert (run.info.status, run.data.tags["distprop.digest"]) == ("FINISHED", result["digest"])
    steps = [point.step for point in asked.get_metric_history(run_id, "train/loss")]
    assert steps == list(range(1, result["steps"] + 1)), "each step once"
