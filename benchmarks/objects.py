"""The same step through Ray's object store: actor calls that push gradients and pull weights."""

import asyncio
import time
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from distprop.numerics.kernel import environment

RATE = np.float32(0.01)
INLINE = 100_000  # bytes up to which Ray sends a value along with the call


class Store:
    """The parameter server."""

    def __init__(self, parameters: int, workers: int) -> None:
        self._weights, self._total = (np.zeros(parameters, np.float32) for _ in range(2))
        self._workers, self._pushed = workers, 0
        self._next: asyncio.Future[Any] | None = None

    async def push(self, gradient: NDArray[np.float32]) -> Any:
        """Add a gradient; the weights, in a list, when all have come."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        waited = self._next
        if self._pushed:
            self._total += gradient
        else:
            np.copyto(self._total, gradient)
        self._pushed += 1
        if self._pushed == self._workers:
            self._pushed, self._next = 0, None
            self._total *= RATE
            self._weights -= self._total
            waited.set_result([ray.put(self._weights) if self._weights.nbytes > INLINE else self._weights])
        return await waited


class Pusher:
    """A worker."""

    def __init__(self, parameters: int, store: Any) -> None:
        self._gradient, self._store = np.ones(parameters, np.float32), store

    def run(self, steps: int) -> list[float]:
        """When steps ended, in seconds."""
        times = []
        for _ in range(steps):
            self._gradient.fill(1.0)
            (weights,) = ray.get(self._store.push.remote(self._gradient))
            if isinstance(weights, ray.ObjectRef):
                ray.get(weights)
            times.append(time.perf_counter())
        return times


StoreActor = ray.remote(Store)
PusherActor = ray.remote(Pusher)


class Objects:
    """Its actors, on the cluster that this process is connected to."""

    def __init__(self, parameters: int, workers: int) -> None:
        settings = {"env_vars": environment("auto")}
        self._store: Any = StoreActor.options(num_cpus=0, runtime_env=settings).remote(parameters, workers)
        self._workers: list[Any] = [
            PusherActor.options(num_cpus=0, runtime_env=settings).remote(parameters, self._store)
            for _ in range(workers)
        ]

    def run(self, steps: int) -> list[float]:
        """When steps ended, as the first worker saw it."""
        times: list[list[float]] = ray.get([worker.run.remote(steps) for worker in self._workers])
        return times[0]

    def close(self) -> None:
        """End the actors."""
        for actor in (*self._workers, self._store):
            ray.kill(actor)
