"""Where a job runs: how many workers and servers, on which cluster, and who said so."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import SupportsIndex

from distprop.config import Job, WorkerRange, expand
from distprop.errors import UserError

CALLER = "the caller's ray.init()"


@dataclass(frozen=True)
class Placement:
    """The places of a job. `address` None: a cluster of our own, or none at all where inline.

    fewest: workers to begin and to go on with, where a cluster has not CPUs for all; None: it must have them.
    """

    workers: int
    servers: int
    address: str | None
    source: str  # "flag", "cluster.address", CALLER, "RAY_ADDRESS", "embedded" or "inline"
    inline: bool = False
    fewest: int | None = None


def place(
    job: Job, workers: int | None, servers: int | None, address: str | None, inline: bool, running: str | None = None
) -> Placement:
    """Precedence: flag, config, `running` (the caller's Ray), RAY_ADDRESS, embedded.

    Servers "auto" are 0 here: one a machine of the cluster.
    """
    workers, servers = _count("workers", workers), _count("servers", servers)
    if inline:
        return Placement(workers or _fixed(job) or 1, servers or _servers(job) or 1, None, "inline", inline=True)
    where, source = _address(job, address, running)
    said = workers or _fixed(job)
    if said:
        return Placement(said, servers or _servers(job), where, source)
    fewest, most = _range(job)
    wanted = most if where else max(fewest, min(most, available_cpus()))
    return Placement(wanted, servers or _servers(job), where, source, fewest=fewest)


def require(package: str, extra: str, instead: str) -> None:
    """Raise UserError where an extra that the job needs is not installed."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UserError(
            f"{package} is not installed",
            "this job needs it, and the base installation of distprop comes without",
            f"pip install 'distprop-train[{extra}]', or {instead}",
        )


def _count(name: str, asked: object) -> int | None:
    """A number of processes, of NumPy's too; 0 is as good as none. Raises UserError."""
    if asked is None:
        return None
    if not isinstance(asked, SupportsIndex) or isinstance(asked, bool) or index(asked) < 0:
        raise UserError(f"{name} is {asked!r}", "it is how many processes there are", f"give a whole number: {name}=2")
    return index(asked)


def callers_ray(inline: bool) -> str | None:
    """The address of the Ray that this process has connected to, where a job could use one. Raises UserError."""
    from distprop.runtime.ray.caller import caller_address

    return None if inline else caller_address()


def available_cpus() -> int:
    """CPUs that this process may use."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _address(job: Job, flag: str | None, running: str | None) -> tuple[str | None, str]:
    if flag is not None:
        return flag, "flag"
    if job.cluster.address is not None:
        return expand(job.cluster.address), "cluster.address"
    if running is not None:
        return running, CALLER
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"], "RAY_ADDRESS"
    return None, "embedded"


def _fixed(job: Job) -> int | None:
    return job.cluster.workers if isinstance(job.cluster.workers, int) else None


def _range(job: Job) -> tuple[int, int]:
    """Fewest and most workers; more than there are shards have nothing to do."""
    asked, shards = job.cluster.workers, job.data.shards
    return (min(asked.min, shards), min(asked.max, shards)) if isinstance(asked, WorkerRange) else (1, shards)


def _servers(job: Job) -> int:
    return job.cluster.servers if isinstance(job.cluster.servers, int) else 0
