"""A job's processes on a Ray cluster. Ray places and starts them; no step goes through it."""

import logging
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distprop.errors import FingerprintError, LostError
from distprop.numerics.canary import canary
from distprop.numerics.kernel import environment
from distprop.protocol.course import Round
from distprop.protocol.effects import Finish
from distprop.protocol.messages import Gone
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.process.coordinator import CoordinatorProcess
from distprop.runtime.process.orders import Kill
from distprop.runtime.process.server import Door
from distprop.runtime.ray.actors import ServerActor, Started, WorkerActor
from distprop.runtime.ray.answers import answer_of
from distprop.runtime.ray.connecting import Connection, Node
from distprop.runtime.ray.worker_pool import Casualty, WorkerPool
from distprop.runtime.session import Session
from distprop.runtime.wire.seal import Credentials

START = 120.0  # seconds for a process to start
RESTART = 30.0  # seconds for a server to start again, on a machine that has started one before
LOOK = 2.0  # seconds between two looks at Ray's own processes
TRIES = 4  # to start all processes, one after the other
MOST_FAILURES = 5  # workers that may be lost without a step between them, beside as many as there are

_log = logging.getLogger("distprop")


class RayCluster:
    """Servers and workers as actors: one server a host, `workers` over them in turn."""

    def __init__(
        self,
        connection: Connection,
        blueprint: Blueprint,
        folder: str,
        kernel: str,
        patience: float,
        profile: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        self._connection, self._nodes, self._link = connection, connection.nodes, connection.link
        self._blueprint = blueprint
        self._put: Any = None  # the blueprint in Ray's store
        self._folder, self._patience, self._profile = folder, patience, profile
        self._secret, self._credentials = secrets.token_bytes(32), credentials
        self._environment = {"env_vars": environment(kernel)}
        self._canary = canary()
        self._asked = self._wanted = self._servers_asked = self._served = 0
        self._fewest = 1
        self._short_since: float | None = None
        self._avoided: set[str] = set()  # machines on which a server did not start in time
        self._servers: list[Any] = []
        self._doors: dict[int, Door] = {}
        self._pool = self._new_pool()
        self._losses = 0  # of workers, since `_heard`
        self._heard: Round | None = None
        self._interrupted = False
        self._looked = 0.0
        self._coordinator: CoordinatorProcess | None = None

    def start(self, workers: int, servers: int, fewest: int | None = None) -> "RayCluster":
        """Start `workers` workers and `servers` servers (0: one a machine). Raises UserError, LostError.

        fewest: begin with so many, where there are no CPUs for all, and go on with so many; None: begin with all.
        A job that has begun goes on with fewer where machines are lost.
        """
        self._asked = self._wanted = self._connection.afford(workers, fewest or workers)
        self._servers_asked, self._fewest = servers, fewest or 1
        self._start_until_it_works(START)
        return self

    @property
    def workers(self) -> int:
        """Workers that were started."""
        return self._wanted

    @property
    def servers(self) -> int:
        """Servers that were started."""
        return self._served

    # ---- starting ---------------------------------------------------------------------------------------------------

    def _start_until_it_works(self, patience: float) -> None:
        """All processes; anew, on the machines that answer then, where one is lost before they are up."""
        for tries_left in reversed(range(TRIES)):
            try:
                self._start(patience)
                return
            except LostError as lost:
                self._end_processes()
                if not tries_left or self._interrupted:
                    raise
                _log.warning("starting the job's processes again: %s (%s)", lost.what, lost.why)
                self._find_machines()
            except BaseException:
                self.close()
                raise

    def _find_machines(self) -> None:
        """The machines that can be reached, and as many workers as they have CPUs for; waits for the fewest."""
        until = time.monotonic() + START
        while True:
            self._require_wanted()
            self._renew_ray()
            answering = self._connection.answering()
            self._nodes = [node for node in answering if node.identity not in self._avoided] or answering
            cpus = int(sum(node.cpus for node in self._nodes))
            if self._nodes and cpus >= self._fewest:
                self._wanted = min(self._asked, cpus)
                return
            if time.monotonic() > until:
                raise _too_few(self._nodes, self._fewest)
            time.sleep(1.0)

    def _renew_ray(self) -> None:
        """Ray itself, where a process is gone that all else depends on. Raises TrainingError where it is not ours."""
        if missing := self._link.missing():
            self._connection.require_ours(missing)
            _log.warning("%s: starting Ray again", missing)
            self._connection.renew()
            self._pool, self._servers = self._new_pool(), []  # they ended with the Ray that they were of
            self._link = self._connection.link

    def _start(self, patience: float) -> None:
        """All processes start side by side; workers join their servers when these are up."""
        self._put = ray.put(self._blueprint)
        servers = self._served = self._servers_asked or min(len(self._nodes), self._wanted)
        self._servers = [self._new_server(me) for me in range(servers)]
        for worker in range(self._wanted):
            self._pool.start(worker * servers // self._wanted)
        asked = [one.start.remote() for one in self._servers]
        for me, (started, door) in enumerate(self._answers(asked, patience)):
            self._require_canary(started, f"server {me}")
            self._doors[me] = door
        self._answers([one.reach.remote(self._doors) for one in self._servers], patience)
        self._coordinator = self._new_coordinator()
        self._await_workers()

    def _await_workers(self) -> None:
        """Wait until all workers have joined, or for so long that the fewest must do."""
        until, casualties = time.monotonic() + START, 0
        while self._pool.starting and (time.monotonic() < until or len(self._pool.joined) < self._fewest):
            self._require_wanted()
            for lost in self._pool.advance(self._doors, timeout=0.5):
                casualties += 1
                _log.warning("worker %d on host-%d is started anew: %s", lost.worker, lost.server, lost.why)
                if casualties > MOST_FAILURES + self._wanted:
                    raise _too_many(casualties, lost.why)
                self._pool.start(lost.server)
            if time.monotonic() > until + START:
                raise LostError(
                    f"{len(self._pool.joined)} of {self._wanted} workers have started in {2 * START:.0f} seconds",
                    "Ray has no free CPU for the others, or their processes hang",
                    "see `ray status`, or use fewer --workers: the numbers will be the same",
                )

    def _require_wanted(self) -> None:
        """Raise LostError where the job was asked to end while its processes are starting again."""
        if self._interrupted:
            raise LostError("the processes of the job were not started again", "it was asked to end meanwhile")

    def _new_coordinator(self) -> CoordinatorProcess:
        how = self._secret, self._patience, self._watch, self._credentials
        try:
            return CoordinatorProcess(self._doors, *how)
        except OSError as error:
            raise LostError("a server of the job ended while it started", str(error), "see the logs of Ray") from error

    def _new_pool(self) -> WorkerPool:
        return WorkerPool(self._new_worker, self._require_canary)

    def _new_server(self, me: int) -> Any:
        options = ServerActor.options(num_cpus=0, runtime_env=self._environment, scheduling_strategy=self._on(me))
        how = self._folder, self._secret, self._patience, self._profile, self._credentials
        return options.remote(me, self._put, *how)

    def _new_worker(self, me: int, home: int) -> Any:
        options = WorkerActor.options(num_cpus=1, runtime_env=self._environment, scheduling_strategy=self._on(home))
        return options.remote(me, home, self._put, self._secret, self._profile)

    def _on(self, host: int) -> NodeAffinitySchedulingStrategy:
        return NodeAffinitySchedulingStrategy(node_id=self._node(host).identity, soft=False)

    def _node(self, host: int) -> Node:
        return self._nodes[host % len(self._nodes)]

    def _answers(self, asked: Sequence[Any], patience: float) -> list[Any]:
        """What each server answers. Raises LostError; a machine whose server is late is not used for the next try."""
        _, late = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
        self._avoided.update(self._node(me).identity for me, one in enumerate(asked) if one in late)
        return [answer_of(one, timeout=0.0 if one in late else patience) for one in asked]

    def _require_canary(self, started: Started, who: str) -> None:
        if started.canary != self._canary:
            raise FingerprintError(
                f"{who} computes other bits than this process",
                f"its canary is {started.canary[:12]}, ours {self._canary[:12]}: another NumPy, OpenBLAS or CPU",
                "install the same versions on all hosts, or set `numerics.blas_kernel` to what all of them share",
            )

    # ---- running ----------------------------------------------------------------------------------------------------

    def run(self, session: Session) -> Finish:
        """Conduct a session to its end."""
        assert self._coordinator is not None, "a cluster is started before it runs"
        return self._coordinator.run(session, self._pool.joined, self._pool.lost)

    def interrupt(self) -> None:
        """Ask the session to save and end; where processes are starting again, raise LostError there."""
        self._interrupted = True
        if self._coordinator is not None:
            self._coordinator.interrupt()

    def replace(self, worker: int, server: int) -> None:
        """Start a worker on the host of `server`, in the place of one that is gone; it joins when it is up.

        Raises LostError where one after the other is lost and no step is made between them.
        """
        self._pool.drop(worker)
        self._losses += 1
        if self._losses > MOST_FAILURES + self._wanted:
            raise _too_many(self._losses, "no step was made between them")
        self._pool.start(server)

    def _watch(self, heard: Round) -> None:
        """See how replacements get on. Recovery does not wait for them, and goes on without one that fails."""
        if heard != self._heard:
            self._heard, self._losses = heard, 0
        self._require_ray()
        self._require_enough()
        for lost in self._pool.advance(self._doors):
            self._mourn(lost)

    def _mourn(self, lost: Casualty) -> None:
        """Let the session hear of a worker that no server knows."""
        assert self._coordinator is not None, "it calls us"
        self._coordinator.hear(Gone(lost.worker, lost.server, lost.why))

    def _require_ray(self) -> None:
        """Raise LostError, or TrainingError for good, where Ray is about to end this process without a word."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if missing := self._link.missing():
            self._connection.require_ours(missing)
            raise LostError(missing, "its process ended", "resume the run: it goes on from its last checkpoint")

    def _require_enough(self) -> None:
        """Raise LostError where the job has been below its fewest workers for longer than a process takes to start."""
        working = len(self._pool.joined)
        if working >= self._fewest:
            self._short_since = None
            return
        self._short_since = self._short_since or time.monotonic()
        if time.monotonic() - self._short_since > START:
            raise LostError(
                f"{working} workers are left of {self._wanted}, and no other could be started for {START:.0f} seconds",
                f"the job is to go on with {self._fewest} at least",
                "free CPUs of the cluster and resume the run; it goes on from its last checkpoint",
            )

    def kill_worker(self, index: int) -> None:
        """Rehearse: signal 9 to the `index`-th worker."""
        if self._coordinator is not None and index in self._pool.joined:
            for server in self._doors:
                self._coordinator.send(server, Kill(index))

    def kill_server(self, index: int) -> None:
        """Rehearse: end the `index`-th server without warning."""
        if index < len(self._servers):
            ray.kill(self._servers[index])

    def restart(self) -> None:
        """All processes anew, on the machines that are left, after one was lost that the job cannot do without."""
        self._renew_ray()  # first: where it is gone for good, Ray will soon end this process without a word
        self._end_processes()
        self._find_machines()
        self._start_until_it_works(RESTART)

    def close(self) -> None:
        """End all processes; their memory goes with them. The connection stays: others may need it."""
        self._end_processes()

    def _end_processes(self) -> None:
        """Side by side: Ray takes seconds for an actor on a machine that does not answer."""
        actors = (*self._pool.actors, *self._servers)
        with ThreadPoolExecutor(max(1, min(len(actors), 32))) as pool:
            list(pool.map(ray.kill, actors))
        if self._coordinator is not None:
            self._coordinator.close()
        self._pool, self._servers = self._new_pool(), []
        self._doors, self._coordinator = {}, None
        self._losses, self._short_since = 0, None


def _too_many(lost: int, why: str) -> LostError:
    return LostError(
        f"{lost} workers were lost, one after the other",
        f"{why}; whatever ends them is likely to end the next one too: too little memory, or a crash in the model",
        "look at the memory of the hosts and at the logs of Ray",
    )


def _too_few(nodes: Sequence[Node], fewest: int) -> LostError:
    cpus = int(sum(node.cpus for node in nodes))
    return LostError(
        f"{len(nodes)} machines of the cluster answer, with {cpus} CPUs; the job needs {fewest}",
        f"others were lost, and none came for {START:.0f} seconds",
        "start machines that join the cluster, and resume the run; it goes on from its last checkpoint",
    )
