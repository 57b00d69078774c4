"""Real servers and workers, in threads, take rounds as a whole: the numbers are those of the scheduler."""

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from distprop.errors import LostError
from distprop.protocol.effects import Finish
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.process.coordinator import CoordinatorProcess
from distprop.runtime.process.server import ServerProcess
from distprop.runtime.process.worker import WorkerProcess
from distprop.runtime.session import Session
from distprop.runtime.wire import post, slate
from tests.runtime.small import run, small_job, written

PATIENCE = 3600.0  # seconds: nobody ends anybody


class Threads:
    """A cluster of one host whose processes are threads."""

    servers = 1

    def __init__(self, blueprint: Blueprint, folder: str, workers: int) -> None:
        secret = secrets.token_bytes(32)
        server = ServerProcess(0, blueprint, folder, secret, "127.0.0.1", PATIENCE)
        self.workers, self.replace = workers, None
        self._threads = [_started(server.serve)]
        self._workers = [WorkerProcess(me, 0, blueprint, secret, server.door.path) for me in range(workers)]
        self._threads += [_started(worker.serve) for worker in self._workers]
        self._coordinator = CoordinatorProcess({0: server.door}, secret, PATIENCE, lambda _: None)

    def run(self, session: Session) -> Finish:
        ended = self._coordinator.run(session, range(self.workers), ())
        if ended.error is not None:
            raise ended.error
        return ended

    def interrupt(self) -> None:
        self._coordinator.interrupt()

    def close(self) -> None:
        self._coordinator.close()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:  # a process would end here
            worker._post.close()
            worker._replica.close()


def _started(serve: Callable[[], None]) -> threading.Thread:
    def until_hung_up() -> None:
        with suppress(LostError):
            serve()

    thread = threading.Thread(target=until_hung_up)
    thread.start()
    return thread


@pytest.mark.skipif(slate._slates is None, reason="slates were not compiled: no C compiler")
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_rounds_that_are_taken_as_a_whole_make_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_norm: float | None
) -> None:
    optimizer: dict[str, Any] = {"adamw": {"learning_rate": 0.01}, "clip_norm": clip_norm}
    changes: dict[str, Any] = {"train": {"epochs": 8}, "checkpoint__every": "20 steps", "optimizer": optimizer}
    job = small_job(written(tmp_path), tmp_path / "inline", **changes)
    expected = run(job, homes=(0, 0)).numbers
    monkeypatch.setattr(post, "BRIEF", 0.2)  # threads of one process wait for each other
    whole: list[str] = []
    for of, name in ((ServerProcess, "_play_round"), (WorkerProcess, "_play_rounds")):
        monkeypatch.setattr(of, name, _noted(getattr(of, name), name, whole))
    job["checkpoint"] = {**job["checkpoint"], "dir": str(tmp_path / "threads")}
    with mock.patch("tests.runtime.small.InlineCluster", lambda blueprint, folder, *_: Threads(blueprint, folder, 2)):
        assert run(job, homes=(0, 0)).numbers == expected
    assert set(whole) == {"_play_round", "_play_rounds"}


def _noted(method: Callable[..., Any], name: str, calls: list[str]) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        calls.append(name)
        return method(*arguments)

    return noted
