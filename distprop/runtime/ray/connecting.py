"""Reaches a Ray cluster, or starts one on this machine."""

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distprop.errors import AddressError
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


def settle_environment() -> None:
    """Make Ray quiet; call before Ray is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def connect(address: str | None, cpus: int) -> list[Node]:
    """The machines of the cluster at `address`; None starts one here that declares `cpus`. Raises AddressError."""
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # its import has set another level
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address is None:
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
    else:
        _require_answer(address)
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(address, str(error)) from error
    sift_stdout()
    return living_nodes()


def living_nodes() -> list[Node]:
    """The machines that are alive."""
    import ray

    return [
        Node(node["NodeID"], node["NodeManagerAddress"], node["Resources"].get("CPU", 0.0))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


def disconnect() -> None:
    """Leave the cluster; one of our own ends."""
    import ray

    ray.shutdown()
    restore_stdout()


def _require_answer(address: str) -> None:
    """Ray tries an address for a minute; a plain connection tells in a moment whether anybody is there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=3.0).close()
    except OSError as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, why: str) -> AddressError:
    return AddressError(
        f"no Ray cluster answers at {address}",
        " ".join(why.split())[:300],
        "start one (`ray start --head`), correct --address, or leave it out to train on this machine",
    )
