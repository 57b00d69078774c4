"""Reaches a Ray cluster, or starts one on this machine."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distprop.errors import AddressError, TrainingError, UserError
from distprop.runtime.ray.driver_link import HEAD_AWAY, DriverLink, Place, driver_link
from distprop.runtime.ray.greeting import require_ray, unreachable
from distprop.runtime.ray.sieve import restore_stdout, sift_stdout

QUIET: Mapping[str, str] = {  # set over nothing that the user has set
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's own default is 15: training would give way to everything
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    identity: str
    address: str
    cpus: float
    port: int = 0  # of its raylet

    def answers(self) -> bool:
        """Whether its raylet takes connections: Ray itself notices only after 15 to 60 s that one is gone."""
        return Place(self.address, self.port).answers()


@dataclass(frozen=True)
class Connection:
    """A driver's hold of a Ray cluster.

    owned: we connected, so we disconnect. cpus: what a cluster of our own declares; 0 where it is somebody else's.
    """

    owned: bool
    cpus: int = 0

    @property
    def nodes(self) -> list[Node]:
        """The machines that are alive and have CPUs to give; a head that only schedules has none."""
        import ray

        alive = [
            Node(
                node["NodeID"],
                node["NodeManagerAddress"],
                node["Resources"].get("CPU", 0.0),
                node["NodeManagerPort"],
            )
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]
        return [node for node in alive if node.cpus] or alive

    def answering(self) -> list[Node]:
        """The machines among them that can be reached now."""
        nodes = self.nodes
        with ThreadPoolExecutor(len(nodes) or 1) as pool:
            answers = list(pool.map(Node.answers, nodes))
        return [node for node, answered in zip(nodes, answers, strict=True) if answered]

    def afford(self, workers: int, fewest: int) -> int:
        """As many of `workers` as the cluster has CPUs for. Raises UserError where it has too few for `fewest`."""
        cpus = int(sum(node.cpus for node in self.nodes))
        if cpus < fewest:
            raise UserError(
                f"{fewest} workers were asked for, the cluster has {cpus} CPUs",
                "every worker takes one",
                f"use --workers {cpus} or fewer: the numbers will be the same",
            )
        return min(workers, cpus)

    def mapping(self, environment: Mapping[str, str]) -> Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]:
        """A `map` whose calls run on the cluster, in processes with `environment`."""
        import ray

        def on_cluster(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
            call = ray.remote(_call).options(runtime_env={"env_vars": dict(environment)})
            try:
                results: list[Any] = ray.get([call.remote(function, item) for item in items])
            except ray.exceptions.RayTaskError as error:
                from distprop.runtime.ray.answers import own_error

                raise own_error(error) from error
            return results

        return on_cluster

    @property
    def link(self) -> DriverLink:
        """What this driver depends on; to be asked for again once it was renewed."""
        return driver_link(0.0 if self.cpus else HEAD_AWAY)

    def require_ours(self, missing: str) -> None:
        """Raise TrainingError where Ray, a process of which is `missing`, is not ours to start again."""
        if not self.cpus:
            raise TrainingError(
                missing,
                "a job cannot be steered without it, and this cluster is not ours to start again",
                "start Ray again, and resume the run: it goes on from its last checkpoint with the same numbers",
            )

    def renew(self) -> None:
        """Start our own Ray anew, after a process of it was lost."""
        import ray

        ray.shutdown()
        with _own_sigterm():
            _init(None, self.cpus)

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        import ray

        if self.owned:
            ray.shutdown()
            restore_stdout()


def settle_environment() -> None:
    """Make Ray quiet; call before Ray is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def connect(address: str | None, cpus: int) -> Connection:
    """The cluster at `address`; None starts one here that declares `cpus`. Raises AddressError.

    A process that is a driver already stays connected as it is.
    """
    settle_environment()
    import ray

    if ray.is_initialized():
        return Connection(owned=False)
    logging.getLogger("ray").setLevel(logging.ERROR)  # its import has set another level
    with _own_sigterm():
        _init(address, cpus)
    sift_stdout()
    return Connection(owned=True, cpus=0 if address else cpus)


def _init(address: str | None, cpus: int) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address is None:
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
    else:
        require_ray(address)
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
            refused = "AuthenticationError" in f"{error!r} {error.__cause__}"
            raise _not_let_in(address) if refused else unreachable(address, str(error)) from error


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    """Ray takes functions only; what is mapped may be any callable."""
    return function(item)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself, and ends the process at once: the handler that was there is put back."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(ours) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


def _not_let_in(address: str) -> AddressError:
    return AddressError(
        f"the Ray cluster at {address} does not let us in",
        "it asks for a token, and this process has another one or none",
        "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token",
    )
