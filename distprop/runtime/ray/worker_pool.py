"""The workers of a job on Ray: those that are starting, those that have joined their server, those that are lost.

A worker is started in two steps that Ray answers: its process is up and says its canary, then it joins the server of
its host. A process that dies on the way is told by `advance`; one that dies later is told by its server.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray

from distprop.errors import LostError
from distprop.runtime.process.server import Door
from distprop.runtime.ray.actors import Started
from distprop.runtime.ray.answers import answer_of

LONGEST_DELAY = 60.0  # seconds between two starts where one after the other dies


class Casualty(NamedTuple):
    """A worker that died before it had joined the server of its host."""

    worker: int
    server: int
    why: str


@dataclass
class _Start:
    """A worker on its way: which answer of its process is waited for."""

    worker: int
    server: int
    joining: bool = False


class WorkerPool:
    """Starts workers with `create(worker, server)`; `examine` may refuse one by what its process says of itself.

    >>> pool.start(server=0)
    >>> while pool.starting:
    ...     casualties = pool.advance(doors, timeout=1.0)
    >>> pool.joined
    frozenset({0})
    """

    def __init__(self, create: Callable[[int, int], Any], examine: Callable[[Started, str], None]) -> None:
        self._create, self._examine = create, examine
        self._actors: dict[int, Any] = {}
        self._starts: dict[Any, _Start] = {}  # what Ray will answer -> whose start it is
        self._due: list[tuple[float, int]] = []  # when, and at which server, a worker is to be started
        self._started = self._failures = 0
        self._joined: set[int] = set()
        self._lost: set[int] = set()

    @property
    def joined(self) -> frozenset[int]:
        """Workers that have joined their server and are not known to be lost."""
        return frozenset(self._joined)

    @property
    def lost(self) -> frozenset[int]:
        """Workers that are known to be lost."""
        return frozenset(self._lost)

    @property
    def starting(self) -> int:
        """How many workers have not joined yet."""
        return len(self._starts) + len(self._due)

    @property
    def actors(self) -> tuple[Any, ...]:
        """The actors of all workers that are not known to be lost."""
        return tuple(self._actors.values())

    def start(self, server: int) -> None:
        """Start a worker on the host of `server`: at once, or later where the ones before it died as they started."""
        delay = min(2.0**self._failures - 1, LONGEST_DELAY)
        if delay:
            self._due.append((time.monotonic() + delay, server))
        else:
            self._start_now(server)

    def drop(self, worker: int) -> None:
        """Forget a worker that is lost."""
        self._actors.pop(worker, None)
        self._joined.discard(worker)
        self._lost.add(worker)

    def advance(self, doors: Mapping[int, Door], timeout: float = 0.0) -> list[Casualty]:
        """Wait up to `timeout` seconds for a step of a start; gives the workers that died on the way.

        Raises what a worker refused to start with, and FingerprintError for one that computes other bits.
        """
        now = time.monotonic()
        due, self._due = [one for one in self._due if one[0] <= now], [one for one in self._due if one[0] > now]
        for _, server in due:
            self._start_now(server)
        if not self._starts:
            time.sleep(timeout)
            return []
        ready, _ = ray.wait(list(self._starts), timeout=timeout)
        return [casualty for asked in ready if (casualty := self._answered(asked, doors))]

    def _start_now(self, server: int) -> None:
        worker, self._started = self._started, self._started + 1
        actor = self._actors[worker] = self._create(worker, server)
        self._starts[actor.examine.remote()] = _Start(worker, server)

    def _answered(self, asked: Any, doors: Mapping[int, Door]) -> Casualty | None:
        start = self._starts.pop(asked)
        try:
            said = answer_of(asked)
        except LostError as error:
            return self._died(start, error.why)
        if start.joining:
            self._joined.add(start.worker)
            self._failures = 0
            return None
        self._examine(said, f"worker {start.worker}")
        joined = self._actors[start.worker].start.remote(doors[start.server].path)
        self._starts[joined] = _Start(start.worker, start.server, joining=True)
        return None

    def _died(self, start: _Start, why: str) -> Casualty:
        self._failures += 1
        ray.kill(self._actors.pop(start.worker))  # its process may be up: it only could not join
        return Casualty(start.worker, start.server, f"it ended while it started: {why}")
