"""The law of bits on Ray: one digest and one set of figures, wherever a job runs and whatever happens to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from distprop.events import Evaluated, Event, Metrics, ServerLost, StepEnded, WorkerJoined, WorkerLost
from distprop.report import Result
from distprop.runtime import blueprint
from distprop.training import resume, train
from tests.ray.conftest import Running
from tests.ray.making import OPTIMIZERS, Watch, job, write_rows

pytestmark = pytest.mark.ray

PLACES = [(1, 1), (2, 1), (3, 2), (5, 3)]

only = partial(pytest.mark.parametrize, "optimizer", indirect=True, scope="module")
"""What is long and has little to do with the optimizer is tried with some of them."""
LAST = 36
DEADLINE = 30.0  # seconds


class Law(NamedTuple):
    """What every training of the job must give."""

    digest: str | None
    metrics: Metrics
    figures: dict[tuple[str, int], Metrics]

    def holds_for(self, result: Result, *watches: Watch) -> None:
        """Assert that a training, perhaps in several parts, gave the same to the last bit."""
        assert result.status == "finished"
        assert result.digest == self.digest
        assert result.metrics == self.metrics
        seen: dict[tuple[str, int], Metrics] = {}
        for watch in watches:
            assert not watch.contradictions
            assert all(seen.setdefault(key, metrics) == metrics for key, metrics in watch.figures.items())
        assert seen == self.figures


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.parquet")


@pytest.fixture(scope="module", params=OPTIMIZERS)
def optimizer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def law(optimizer: str, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Law:
    """The reference: one worker in this process."""
    watch = Watch()
    result = train(job(rows, tmp_path_factory.mktemp("law"), optimizer), inline=True, listeners=[watch])
    assert result.steps == LAST
    return Law(result.digest, result.metrics, watch.figures)


@pytest.fixture
def config(optimizer: str, rows: Path, tmp_path: Path) -> dict[str, Any]:
    return job(rows, tmp_path, optimizer)


def wait_until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


def a_worker(cluster: Running, of: int) -> psutil.Process:
    """One of a job's workers; a replacement that came too late for an earlier job may take a moment to end."""
    wait_until(lambda: len(cluster.actors("Worker")) == of, f"there are {of} workers, and none of an earlier job")
    return cluster.actors("Worker")[0]


def at_version(kind: type[Event], version: int, act: Callable[[], None]) -> Callable[[Event], None]:
    """Act once, when the first event of a kind at or after `version` is heard."""
    left = [act]

    def listen(event: Event) -> None:
        if left and isinstance(event, kind) and getattr(event, "version", -1) >= version:
            left.pop()()

    return listen


@pytest.mark.parametrize(("workers", "servers"), PLACES)
def test_any_number_of_workers_and_servers_gives_the_same_bits(
    workers: int, servers: int, law: Law, config: dict[str, Any], cluster: Running
) -> None:
    watch = Watch()
    result = train(config, workers=workers, servers=servers, address=cluster.address, listeners=[watch])
    assert (result.workers, result.servers) == (workers, servers)
    assert watch.seen(WorkerJoined) == workers
    assert not watch.seen(WorkerLost)
    law.holds_for(result, watch)


@only(argvalues=["sgd", "adamw"])
def test_slices_that_travel_before_a_gradient_is_whole_give_the_same_bits(
    law: Law, config: dict[str, Any], cluster: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a large network do, between hosts: each owns several of them."""
    monkeypatch.setattr(blueprint, "PIECE", 2_000)
    watch = Watch()
    result = train(config, workers=4, servers=3, address=cluster.address, listeners=[watch])
    law.holds_for(result, watch)


@only(argvalues=["adam"])
def test_a_planned_loss_of_a_worker_changes_nothing(law: Law, config: dict[str, Any], cluster: Running) -> None:
    watch = Watch()
    planned = {**config, "faults": [{"kill": "worker", "index": 1, "step": 13}]}
    result = train(planned, workers=2, servers=1, address=cluster.address, listeners=[watch])
    assert [event.worker for event in watch.events if isinstance(event, WorkerLost)] == [1]
    law.holds_for(result, watch)


@only(argvalues=["adamw"])
def test_a_worker_that_is_killed_from_outside_is_replaced(law: Law, config: dict[str, Any], cluster: Running) -> None:
    """Killed in an evaluation's barrier, so that the job cannot have ended before it is missed."""

    def kill() -> None:
        victim = a_worker(cluster, of=3)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(DEADLINE)

    watch = Watch(at_version(Evaluated, 12, kill))
    result = train(config, workers=3, servers=2, address=cluster.address, listeners=[watch])
    assert watch.seen(WorkerLost) == 1
    law.holds_for(result, watch)


@only(argvalues=["adam"])
def test_a_worker_that_hangs_is_ended_and_replaced(law: Law, config: dict[str, Any], cluster: Running) -> None:
    """Stopped in an evaluation's barrier; its pulse is missed after `patience_seconds`."""
    watch = Watch(at_version(Evaluated, 12, lambda: a_worker(cluster, of=2).suspend()))
    impatient = {**config, "cluster": {"patience_seconds": 2.0}}
    result = train(impatient, workers=2, servers=1, address=cluster.address, listeners=[watch])
    assert watch.seen(WorkerLost) == 1
    law.holds_for(result, watch)


@only(argvalues=["sgd"])
def test_a_lost_server_costs_the_steps_since_the_last_checkpoint(
    law: Law, config: dict[str, Any], cluster: Running
) -> None:
    def wait_for_the_loss() -> None:
        wait_until(lambda: watch.seen(ServerLost) or len(cluster.actors("Server")) < 2, "the server is gone")

    watch = Watch(at_version(Evaluated, 20, wait_for_the_loss))
    planned = {**config, "faults": [{"kill": "server", "index": 1, "step": 17}]}
    result = train(planned, workers=2, servers=2, address=cluster.address, listeners=[watch])
    assert watch.seen(ServerLost) == 1
    steps = [event.version for event in watch.events if isinstance(event, StepEnded)]
    assert steps.count(18) == 2, "the steps since the last checkpoint are computed again"
    law.holds_for(result, watch)


@only(argvalues=["adam", "adamw"])
def test_interrupted_in_an_epoch_and_resumed_elsewhere(law: Law, config: dict[str, Any], cluster: Running) -> None:
    first, second = Watch(at_version(StepEnded, 15, lambda: os.kill(os.getpid(), signal.SIGINT))), Watch()
    stopped = train(config, workers=3, servers=2, address=cluster.address, listeners=[first])
    assert stopped.status == "interrupted"
    assert stopped.checkpoint is not None
    assert 15 <= stopped.steps < LAST
    result = resume(stopped.checkpoint, workers=2, servers=1, address=cluster.address, listeners=[second])
    assert min(version for _, version in second.figures) >= stopped.steps
    law.holds_for(result, first, second)


@only(argvalues=["sgd"])
def test_a_listener_that_takes_its_time_costs_no_server(law: Law, config: dict[str, Any], cluster: Running) -> None:
    watch = Watch(at_version(Evaluated, 12, lambda: time.sleep(7.0)))
    impatient = {**config, "cluster": {"patience_seconds": 3.0}}
    result = train(impatient, workers=2, servers=2, address=cluster.address, listeners=[watch])
    assert not watch.seen(ServerLost)
    law.holds_for(result, watch)


@only(argvalues=["adamw"])
def test_a_shell_that_presets_another_kernel_changes_nothing(
    law: Law, config: dict[str, Any], cluster: Running, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(config))
    preset = {
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "2",
        "NPY_DISABLE_CPU_FEATURES": "",
        "DISTPROP_KERNEL": "nehalem",
    }
    command = [sys.executable, "-m", "distprop", "train", str(file), "--workers", "2", "--json"]
    ended = subprocess.run(
        [*command, "--address", cluster.address],
        env={**os.environ, **preset},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["digest"] == law.digest
    assert result["metrics"] == law.metrics
