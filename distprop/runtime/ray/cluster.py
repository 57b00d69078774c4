"""A job's processes on a Ray cluster. Ray places and starts them; no step goes through it."""

import secrets
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distprop.errors import FingerprintError, LostError
from distprop.numerics.canary import canary
from distprop.numerics.kernel import environment
from distprop.protocol.effects import Finish
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.process.coordinator import CoordinatorProcess
from distprop.runtime.process.server import Door, Kill
from distprop.runtime.ray.actors import ServerActor, Started, WorkerActor
from distprop.runtime.ray.connecting import Connection, own_error
from distprop.runtime.session import Session
from distprop.runtime.wire.seal import Credentials

START = 120.0  # seconds for a process to start
MOST_FAILURES = 5  # replacements in a row that may die before the job is given up


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
        self._connection, self._nodes = connection, connection.nodes
        self._blueprint = ray.put(blueprint)
        self._folder, self._patience, self._profile = folder, patience, profile
        self._secret, self._credentials = secrets.token_bytes(32), credentials
        self._environment = {"env_vars": environment(kernel)}
        self._canary = canary()
        self._wanted, self._fewest = 0, 1
        self._short_since: float | None = None
        self._servers: list[Any] = []
        self._doors: dict[int, Door] = {}
        self._workers: dict[int, Any] = {}
        self._homes: dict[int, int] = {}
        self._starting: dict[Any, int] = {}  # what a replacement's start will say -> its worker
        self._failures = 0
        self._coordinator: CoordinatorProcess | None = None

    def start(self, workers: int, servers: int, fewest: int | None = None) -> "RayCluster":
        """Start `workers` workers and `servers` servers (0: one a machine). Raises UserError, LostError.

        fewest: begin with so many, where there are no CPUs for all, and go on with so many; None: begin with all.
        """
        workers = self._connection.afford(workers, fewest or workers)
        self._fewest = fewest or 1
        try:
            self._start(servers or min(len(self._nodes), workers), workers)
        except BaseException:
            self.close()
            raise
        return self

    @property
    def workers(self) -> int:
        """Workers that were started."""
        return self._wanted

    @property
    def servers(self) -> int:
        """Servers that were started."""
        return len(self._servers)

    # ---- starting ---------------------------------------------------------------------------------------------------

    def _start(self, servers: int, workers: int) -> None:
        """All processes start side by side; workers join their servers when these are up."""
        self._wanted = workers
        self._servers = [self._new_server(me) for me in range(servers)]
        self._homes = {worker: worker * servers // workers for worker in range(workers)}
        self._workers = {me: self._new_worker(me, home) for me, home in self._homes.items()}
        for me, (started, door) in enumerate(self._get([one.start.remote() for one in self._servers])):
            self._require_canary(started, f"server {me}")
            self._doors[me] = door
        self._get([one.reach.remote(self._doors) for one in self._servers])
        how = self._secret, self._patience, self._watch, self._credentials
        self._coordinator = CoordinatorProcess(self._doors, *how)
        for me, started in enumerate(self._get([one.examine.remote() for one in self._workers.values()])):
            self._require_canary(started, f"worker {me}")
        self._get([self._join(me) for me in self._workers])

    def _join(self, me: int) -> Any:
        return self._workers[me].start.remote(self._doors[self._homes[me]].path)

    def _new_server(self, me: int) -> Any:
        options = ServerActor.options(num_cpus=0, runtime_env=self._environment, scheduling_strategy=self._on(me))
        how = self._folder, self._secret, self._patience, self._profile, self._credentials
        return options.remote(me, self._blueprint, *how)

    def _new_worker(self, me: int, home: int) -> Any:
        options = WorkerActor.options(num_cpus=1, runtime_env=self._environment, scheduling_strategy=self._on(home))
        return options.remote(me, home, self._blueprint, self._secret, self._profile)

    def _on(self, host: int) -> NodeAffinitySchedulingStrategy:
        node = self._nodes[host % len(self._nodes)]
        return NodeAffinitySchedulingStrategy(node_id=node.identity, soft=False)

    def _get(self, asked: list[Any]) -> list[Any]:
        """What actors answer. Raises our own errors as they were raised there, all else as LostError."""
        try:
            answers: list[Any] = ray.get(asked, timeout=START)
        except ray.exceptions.RayTaskError as error:
            raise own_error(error) from error
        except ray.exceptions.RayError as error:
            raise LostError("a process of the job did not start", str(error)[:300], "see the logs of Ray") from error
        return answers

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
        return self._coordinator.run(session, len(self._workers))

    def interrupt(self) -> None:
        """Ask the session to save and end."""
        if self._coordinator is not None:
            self._coordinator.interrupt()

    def replace(self, server: int) -> None:
        """Start a worker on the host of `server`; it joins when it is up."""
        self._failures += 1
        if self._failures > MOST_FAILURES + self._wanted:
            raise LostError(
                f"{self._failures} workers were lost",
                "whatever ends them is likely to end the next one too: too little memory, or a crash in the model",
                "look at the memory of the hosts and at the logs of Ray",
            )
        me = max(self._workers, default=-1) + 1
        worker = self._workers[me] = self._new_worker(me, server)
        self._homes[me] = server
        self._starting[worker.examine.remote()] = me

    def _watch(self) -> None:
        """See how replacements get on. Recovery does not wait for them, and goes on without one that fails."""
        self._require_enough()
        if not self._starting:
            return
        ready, _ = ray.wait(list(self._starting), timeout=0)
        for asked in ready:
            me = self._starting.pop(asked)
            self._require_canary(self._get([asked])[0], f"worker {me}")
            self._join(me)

    def _require_enough(self) -> None:
        """Raise LostError where the job has been below its fewest workers for longer than a process takes to start."""
        working = self._wanted - len(self._starting)
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
        if self._coordinator is not None and index in self._workers:
            for server in self._doors:
                self._coordinator.send(server, Kill(index))

    def kill_server(self, index: int) -> None:
        """Rehearse: end the `index`-th server without warning."""
        if index < len(self._servers):
            ray.kill(self._servers[index])

    def restart(self) -> None:
        """All processes anew, after one was lost that the job cannot do without."""
        self._end_processes()
        self._nodes = self._connection.nodes
        self._start(len(self._servers), self._wanted)

    def close(self) -> None:
        """End all processes; their memory goes with them. The connection stays: others may need it."""
        self._end_processes()

    def _end_processes(self) -> None:
        for actor in (*self._workers.values(), *self._servers):
            ray.kill(actor)
        if self._coordinator is not None:
            self._coordinator.close()
        self._workers, self._doors, self._starting, self._coordinator = {}, {}, {}, None
