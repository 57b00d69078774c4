"""distprop at work: a real cluster of its processes, asked for blocks of steps."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from distprop.events import Event, StepEnded
from distprop.protocol.course import TRAIN, Course, Round
from distprop.protocol.messages import Open
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.desk import Desk, Papers
from distprop.runtime.judge import Criteria
from distprop.runtime.ray.cluster import RayCluster
from distprop.runtime.ray.connecting import Connection, connect
from distprop.runtime.session import Session

CPUS = 64  # declared to Ray: several jobs are up at the same time, and take turns
PATIENCE = 120.0  # seconds; a machine that is shared may be slow


class Ran(NamedTuple):
    """A block: when each step was committed (seconds, by the server's clock), and its loss."""

    times: list[float]
    losses: list[float]


@contextmanager
def on_ray() -> Iterator[None]:
    """A Ray cluster on this machine, for as many jobs as take turns in it."""
    connection = connect(None, CPUS)
    try:
        yield
    finally:
        connection.close()


class Driven:
    """The processes of one job, within `on_ray`. Every block begins at the initial weights."""

    def __init__(self, blueprint: Blueprint, workers: int, servers: int = 1) -> None:
        self._blueprint, self._attempt = blueprint, 0
        self._folder = tempfile.TemporaryDirectory(prefix="distprop-bench-")
        shared = Connection(owned=False)  # whoever connected disconnects
        self._cluster = RayCluster(shared, blueprint, self._folder.name, "auto", PATIENCE)
        self._cluster.start(workers, servers)

    @property
    def parameters(self) -> int:
        """Values in the arena."""
        return self._blueprint.parameters

    def run(self, steps: int) -> Ran:
        """Compute a block of steps. Raises what a worker met."""
        ran = Ran([], [])

        def hear(event: Event) -> None:
            if isinstance(event, StepEnded):
                ran.times.append(event.time)
                ran.losses.append(event.metrics["train/loss"])

        ended = self._cluster.run(self._session(steps, hear))
        if ended.error is not None:
            raise ended.error
        return ran

    def _session(self, steps: int, emit: Any) -> Session:
        plan = self._blueprint.dataset.train_plan
        course = Course(
            steps=tuple(plan.steps(shard) for shard in range(plan.shards)),
            last=steps,
            clips=self._blueprint.optimizer.exchanges,
            keeps=False,
        )
        papers = Papers(self._folder.name, "", {}, "", 1, lambda: None)
        desk = Desk(self._blueprint, course, Criteria(), papers, emit, time.time, self._cluster.replace)
        servers = self._cluster.servers
        opening = Open(self._attempt, course, Round(0, TRAIN), servers, None, pieces=self._blueprint.pieces(servers))
        self._attempt += 1
        return Session(opening, desk)

    def close(self) -> None:
        """End its processes."""
        self._cluster.close()
        self._folder.cleanup()
