"""Hosts of their own on one machine: network namespaces joined by a bridge, each with a Ray node in it."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

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
        for name in self.names:
            listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in listed.stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, host: int, command: Sequence[str], timeout: float) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host, in this process' environment."""
        inside = ["ip", "netns", "exec", self.names[host], *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=timeout)

    def start_ray(self, cpus: int) -> str:
        """A Ray node on each host, the first one the head; gives the cluster's address."""
        for host in range(len(self.names)):
            self._folders.append(tempfile.mkdtemp(prefix="dp-", dir="/tmp"))  # short: Ray keeps sockets in it
            where = ["--head", f"--port={PORT}", "--include-dashboard=false"] if host == 0 else []
            where = where or [f"--address={self.address(0)}:{PORT}"]
            own = [f"--node-ip-address={self.address(host)}", f"--num-cpus={cpus}", f"--temp-dir={self._folders[host]}"]
            ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
            started = self.run(host, [*ray, *where, *own], timeout=90)
            assert started.returncode == 0, started.stdout + started.stderr
        return f"{self.address(0)}:{PORT}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
