"""A steady step works in memory that it has: nothing over 64 kB is allocated anywhere on its way."""

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.job import Job
from distprop.protocol import messages, rhythm, server, worker
from distprop.protocol.course import TRAIN, Course, Round
from distprop.protocol.plan import Plan
from distprop.runtime.keeper import Keeper
from distprop.runtime.memory import WeightLayout, anonymous
from distprop.runtime.replica import Replica, slot_layout
from distprop.runtime.role import Role

LARGE = 2**16  # bytes
WARM, STEADY = 8, 4
LAYERS = ({"dense": 300}, "relu", {"dropout": 0.1}, {"dense": 200}, "gelu", {"dense": 10})


class Host:
    """A server and its workers in one process, without anything between them."""

    def __init__(self, blueprint: Any, shards: int, clips: bool) -> None:
        memory = anonymous(WeightLayout(blueprint.parameters).size)
        keeper, plan = Keeper(0, blueprint, memory, "nowhere"), Plan(0, 0, self._owners(shards), {0: 0, 1: 0}, (0,))
        self.roles: dict[Any, Role[Any]] = {"server": Role(server.ServerState(0), rhythm.step, keeper)}
        for me in range(2):
            slots = anonymous(slot_layout(blueprint).size)
            keeper.attach(me, slots)
            replica = Replica(me, blueprint, memory, slots)
            self.roles[me] = Role(worker.WorkerState(me, 0), worker.step, replica)
        course = Course((10**6,) * shards, 10**6, clips=clips, keeps=False)
        opening = messages.Open(0, course, Round(0, TRAIN), 1, None)
        self.waiting: list[Any] = []
        for message in (messages.Joined(0, 0), messages.Joined(1, 0), opening, messages.Assign(plan)):
            self._hear("server", message)

    @staticmethod
    def _owners(shards: int) -> tuple[int, ...]:
        return tuple(2 * shard // shards for shard in range(shards))

    def _hear(self, who: Any, message: Any) -> None:
        self.waiting.extend(self.roles[who].receive(message))

    def step(self) -> None:
        """Until another version is committed."""
        committed = False
        while not committed:
            send = self.waiting.pop(0)
            committed = isinstance(send.message, messages.Gathered)
            if committed:
                self._hear("server", messages.Heard(0, send.message.round))
            else:
                self._hear(send.to.number if send.to.role == "worker" else "server", send.message)


@pytest.mark.parametrize(
    ("shards", "micro_batch", "clip"),
    [(2, None, None), (2, None, 0.1), (8, None, None), (8, None, 0.1), (2, 50, None)],
    ids=["a leaf a worker", "clipped", "stacked leaves", "stacked and clipped", "micro-batches"],
)
def test_a_steady_step_allocates_nothing_large(shards: int, micro_batch: int | None, clip: float | None) -> None:
    job = Job(LAYERS, (400,), 10, 256, shards, clip_norm=clip)
    host = Host(replace(job.blueprint(), micro_batch=micro_batch), shards, clips=clip is not None)
    for _ in range(WARM):
        host.step()
    tracemalloc.start()
    try:
        for _ in range(STEADY):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            host.step()
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < LARGE
    finally:
        tracemalloc.stop()
