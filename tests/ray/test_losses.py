"""Whatever is lost, and whenever: a job with test rows ends as the calm one does, or says that it was interrupted."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from distprop.events import Evaluated, Event, ServerLost, StepEnded, Stop, WorkerJoined, WorkerLost
from distprop.report import Result
from distprop.runtime.ray import cluster as ray_cluster
from distprop.training import conducting, resume, train
from tests.ray.conftest import Running
from tests.ray.making import Watch, job, write_rows

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.parquet")


def with_test_rows(rows: Path, checkpoints: Path, **changes: Any) -> dict[str, Any]:
    """The job of the law, with a test at its end."""
    config = job(rows, checkpoints)
    return {**config, "data": {**config["data"], "test": str(rows)}, **changes}


@pytest.fixture(scope="module")
def calm(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The calm run, in this process."""
    return train(with_test_rows(rows, tmp_path_factory.mktemp("calm")), inline=True)


def require_calm(result: Result, calm: Result) -> None:
    """The same bits, and the same figures, those of the test among them."""
    assert result.status == "finished"
    assert result.digest == calm.digest
    assert "test/loss" in result.metrics
    assert result.metrics == calm.metrics


def before_the_test(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act once, after training and before its test."""
    left, plan_of = [act], conducting.test_course

    def acting(*how: Any) -> Any:
        if left:
            left.pop()()
        return plan_of(*how)

    monkeypatch.setattr(conducting, "test_course", acting)


def end(victims: list[psutil.Process]) -> None:
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=20)


@contextmanager
def killing_the_first(cluster: Running, kind: str) -> Iterator[list[int]]:
    """Kill an actor's process as soon as there is one, in whatever it does as it starts; gives who was killed."""
    killed: list[int] = []
    known = {process.pid for process in cluster.actors(kind)}
    over = threading.Event()

    def watch() -> None:
        while not killed and not over.is_set():
            for process in [one for one in cluster.actors(kind) if one.pid not in known][:1]:
                end([process])
                killed.append(process.pid)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_a_worker_lost_in_training_is_not_waited_for_in_the_test(
    calm: Result, rows: Path, tmp_path: Path, cluster: Running
) -> None:
    watch = Watch()
    planned = with_test_rows(rows, tmp_path, faults=[{"kill": "worker", "index": 1, "step": 13}])
    result = train(planned, workers=2, servers=1, address=cluster.address, listeners=[watch])
    assert watch.seen(WorkerLost) == 1, "also with CPUs to spare it is told once"
    require_calm(result, calm)


@pytest.mark.parametrize("kind", ["Worker", "Server"])
def test_a_process_that_dies_between_training_and_test_is_replaced(
    kind: str, calm: Result, rows: Path, tmp_path: Path, cluster: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_test(monkeypatch, lambda: end(cluster.actors(kind)[:1]))
    watch = Watch()
    how: dict[str, Any] = {"workers": 3, "servers": 2, "address": cluster.address, "listeners": [watch]}
    require_calm(train(with_test_rows(rows, tmp_path), **how), calm)
    assert watch.seen(WorkerLost if kind == "Worker" else ServerLost) == 1


@pytest.mark.parametrize("kind", ["Worker", "Server"])
def test_a_process_that_dies_as_it_starts_is_replaced(
    kind: str, calm: Result, rows: Path, tmp_path: Path, cluster: Running
) -> None:
    with killing_the_first(cluster, kind) as killed:
        result = train(with_test_rows(rows, tmp_path), workers=3, servers=2, address=cluster.address)
    assert killed
    assert (result.workers, result.servers) == (3, 2)
    require_calm(result, calm)


def test_an_end_asked_for_before_the_test_is_an_interrupt_and_the_test_is_made_up_for(
    calm: Result, rows: Path, tmp_path: Path, cluster: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_test(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    how: dict[str, Any] = {"workers": 2, "servers": 1, "address": cluster.address}
    stopped = train(with_test_rows(rows, tmp_path), **how)
    assert stopped.status == "interrupted"
    assert "test/loss" not in stopped.metrics
    assert stopped.checkpoint is not None
    require_calm(resume(stopped.checkpoint, **how), calm)


def test_workers_may_be_lost_without_end_as_long_as_steps_are_made(
    rows: Path, tmp_path: Path, cluster: Running
) -> None:
    """As on preemptible machines: each replacement is killed in turn, more often than any limit."""
    most = ray_cluster.MOST_FAILURES + 2 + 2

    def listen(event: Event) -> None:
        """Kill one whenever both are there, and end once that went on for long enough."""
        lost = watch.seen(WorkerLost)
        if isinstance(event, StepEnded) and watch.seen(WorkerJoined) - lost == 2 and len(killed) == lost < most:
            killed.append(cluster.actors("Worker")[-1])
            end(killed[-1:])
        if lost >= most:
            raise Stop

    killed: list[psutil.Process] = []
    watch = Watch()
    long = with_test_rows(rows, tmp_path, train={"epochs": 100_000})
    result = train(long, workers=2, servers=1, address=cluster.address, listeners=[watch, listen])
    assert result.status == "interrupted"
    assert watch.seen(WorkerLost) >= most
    assert not watch.seen(ServerLost), "no loss cost a step back"


def test_servers_may_be_lost_again_and_again_as_long_as_checkpoints_are_made(
    calm: Result, rows: Path, tmp_path: Path, cluster: Running
) -> None:
    """Killed in the barriers of evaluations, so that the job cannot have ended before; kept at 7, 14, 21 and 28."""
    left = [8, 16, 24, 32]

    def listen(event: Event) -> None:
        if isinstance(event, Evaluated) and event.version in left:
            left.remove(event.version)
            end(cluster.actors("Server"))

    watch = Watch(listen)
    result = train(with_test_rows(rows, tmp_path), workers=2, address=cluster.address, listeners=[watch])
    assert watch.seen(ServerLost) == 4
    require_calm(result, calm)
