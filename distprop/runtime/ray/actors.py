"""The actors: plain processes in Ray's clothes. Each method returns at once; the work is done in their own threads."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import ray

from distprop.numerics.canary import canary
from distprop.numerics.kernel import MARK
from distprop.numerics.verify import verify_kernel
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.process.server import Door, ServerProcess
from distprop.runtime.process.worker import WorkerProcess
from distprop.runtime.wire.seal import Credentials


class Started(NamedTuple):
    """What a process says when it is up."""

    pid: int
    canary: str


class Server:
    """A server of one host."""

    def __init__(
        self,
        me: int,
        blueprint: Blueprint,
        folder: str,
        secret: bytes,
        patience: float,
        profile: bool,
        credentials: Credentials | None,
    ) -> None:
        verify_kernel(os.environ[MARK])
        address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._process = ServerProcess(me, blueprint, folder, secret, address, patience, profile, credentials)

    def start(self) -> tuple[Started, Door]:
        """Serve; where to reach it."""
        self._process.start()
        return Started(os.getpid(), canary()), self._process.door

    def reach(self, doors: Mapping[int, Door]) -> None:
        """Connect to the other servers."""
        self._process.reach(doors)


class Worker:
    """A worker on the host of server `home`."""

    def __init__(self, me: int, home: int, blueprint: Blueprint, secret: bytes, profile: bool) -> None:
        verify_kernel(os.environ[MARK])
        self._profile = profile
        self._canary = canary()
        self._arguments = me, home, blueprint, secret
        self._process: WorkerProcess | None = None

    def examine(self) -> Started:
        """Whether this process computes as the others do is for the coordinator to say."""
        return Started(os.getpid(), self._canary)

    def start(self, path: str) -> None:
        """Join the host's server, which listens at `path`, and serve."""
        self._process = WorkerProcess(*self._arguments, path, self._profile)
        self._process.start()


ServerActor = ray.remote(Server)
WorkerActor = ray.remote(Worker)
