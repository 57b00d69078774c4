"""Two hosts on one machine: network namespaces, and a link between them that carries so much and no more."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from types import TracebackType

BUCKET = 32  # kB that the link lets pass at once after a pause: little beside the smallest push
WAITING = "50ms"  # longest stay in the link's queue
HOSTS = 2
PATIENCE = 10.0  # seconds for killed processes to be gone


def missing() -> str:
    """Why a link cannot be made here; empty where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if absent := [command for command in ("ip", "tc") if shutil.which(command) is None]:
        return f"the command {absent[0]} (iproute2) is missing"
    try:
        with Link(1.0):
            return ""
    except subprocess.CalledProcessError as error:
        return f"a shaped link cannot be made here: {error.stderr.decode().strip()}"


class Link:
    """Two hosts; `prefix` and `address` of each. Both directions carry `gigabits` a second.

    All that runs on them ends with the context.
    """

    def __init__(self, gigabits: float) -> None:
        tag = secrets.token_hex(2)
        self._hosts, self._net = (f"dpb{tag}a", f"dpb{tag}b"), f"10.79.{secrets.randbelow(200) + 20}"
        self._rate = f"{gigabits * 1000:.0f}mbit"

    def prefix(self, host: int) -> list[str]:
        """The words before a command that is to run on a host."""
        return ["ip", "netns", "exec", self._hosts[host]]

    def address(self, host: int) -> str:
        """The IP address of a host."""
        return f"{self._net}.{host + 1}"

    def shape(self, bucket: int) -> None:
        """Let `bucket` kB pass at once after a pause.

        Below 64 kB, the kernel's largest packet, every packet is cut up first, as a network card would do; here the CPU
        does. And where a busy CPU lets the kernel's timers run late, the link carries less than its rate as soon as
        the bucket is full before they do: 256 kB are 2 ms.
        """
        for name in self._hosts:
            shape = ("tbf", "rate", self._rate, "burst", f"{bucket}kb", "latency", WAITING)
            _run("tc", "-n", name, "qdisc", "replace", "dev", "eth0", "root", *shape)

    def __enter__(self) -> "Link":
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _make(self) -> None:
        for name in self._hosts:
            _run("ip", "netns", "add", name)
        near, far = self._hosts
        _run("ip", "-n", near, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far)
        for host, name in enumerate(self._hosts):
            _run("ip", "-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _run("ip", "-n", name, "link", "set", "eth0", "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")
        self.shape(BUCKET)

    def end_processes(self) -> None:
        """Kill all that runs on the hosts, and wait until it is gone."""
        end = time.monotonic() + PATIENCE
        while (found := [pid for name in self._hosts for pid in _pids(name)]) and time.monotonic() < end:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _remove(self) -> None:
        self.end_processes()
        for name in self._hosts:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _pids(name: str) -> list[int]:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
