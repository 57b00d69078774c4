"""Hosts of their own on one machine: network namespaces joined by a bridge, each with a Ray node in it."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

PORT = 6399


def missing() -> str:
    """Why hosts cannot be made here; empty where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "the command `ip` (iproute2) is missing"
    made = subprocess.run(["ip", "netns", "add", "dp-try"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", "dp-try"], capture_output=True)
    return f"network namespaces cannot be made here: {made.stderr.strip()}" if made.returncode else ""


class Hosts:
    """`count` hosts at 10.77.N.1, 10.77.N.2, ...; all that runs in them ends with the context."""

    def __init__(self, count: int) -> None:
        tag = secrets.token_hex(2)
        self.names = [f"dp{tag}-{host}" for host in range(count)]
        self._bridge, self._links = f"dp{tag}", [f"dp{tag}v{host}" for host in range(count)]
        self._net = f"10.77.{secrets.randbelow(200) + 20}"
        self._folders: list[str] = []

    def address(self, host: int) -> str:
        """The IP address of a host."""
        return f"{self._net}.{host + 1}"

    def __enter__(self) -> "Hosts":
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("link", "set", self._bridge, "up")
        for host, (name, link) in enumerate(zip(self.names, self._links, strict=True)):
            _ip("netns", "add", name)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", link, "master", self._bridge, "up")
            _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host, name in enumerate(self.names):
            self.kill(host)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def start(self, host: int, command: Sequence[str], **how: Any) -> "subprocess.Popen[str]":
        """Start a command on a host, in this process' environment."""
        return subprocess.Popen(["ip", "netns", "exec", self.names[host], *command], text=True, **how)

    def pids(self, host: int) -> list[int]:
        """All processes of a host."""
        listed = subprocess.run(["ip", "netns", "pids", self.names[host]], capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]

    def kill(self, host: int) -> None:
        """Signal 9 to all processes of a host, until none is left: some start others meanwhile."""
        while pids := self.pids(host):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def cut(self, host: int) -> None:
        """Take the host's link down: nothing leaves it, and nothing comes in."""
        _ip("link", "set", self._links[host], "down")

    def mend(self, host: int) -> None:
        """Take the host's link up again."""
        _ip("link", "set", self._links[host], "up")

    def run(self, host: int, command: Sequence[str], timeout: float) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host, in this process' environment."""
        inside = ["ip", "netns", "exec", self.names[host], *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=timeout)

    def start_ray(self, cpus: int) -> str:
        """A Ray node on each host, the first one the head; gives the cluster's address."""
        for host in range(len(self.names)):
            self.start_node(host, cpus)
        return f"{self.address(0)}:{PORT}"

    def start_node(self, host: int, cpus: int) -> None:
        """A Ray node on a host, which joins the others."""
        folder = tempfile.mkdtemp(prefix="dp-", dir="/tmp")  # short: Ray keeps sockets in it
        self._folders.append(folder)
        head = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        where = head if host == 0 else [f"--address={self.address(0)}:{PORT}"]
        own = [f"--node-ip-address={self.address(host)}", f"--num-cpus={cpus}", f"--temp-dir={folder}"]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
        started = self.run(host, [*ray, *where, *own], timeout=90)
        assert started.returncode == 0, started.stdout + started.stderr


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
