"""A Ray cluster over the two hosts of a link, with a node in each."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks.link import HOSTS, Link
from distprop.runtime.ray.connecting import settle_environment

PORT = 6397
PATIENCE = 90.0  # seconds for a node to start
STORE = 100_000_000  # bytes of Ray's object store, which no array of ours goes through
RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats")


class Cluster(NamedTuple):
    """Where a cluster is, and the variables of whoever may enter it; its temporary files end with the cluster."""

    address: str
    variables: Mapping[str, str]


@contextmanager
def ray_nodes(link: Link, cpus: int) -> Iterator[Cluster]:
    """A node with so many CPUs on each host. All processes on both hosts end with it.

    Raises RuntimeError where a node does not start.
    """
    settle_environment()
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    address = f"{link.address(0)}:{PORT}"
    with ExitStack() as stack:
        for host in range(HOSTS):
            folder = tempfile.mkdtemp(prefix="dpb-", dir="/tmp")  # short: Ray keeps sockets in it
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.callback(link.end_processes)  # before their folder goes
            role = ["--head", f"--port={PORT}", "--include-dashboard=false"] if host == 0 else [f"--address={address}"]
            own = [f"--node-ip-address={link.address(host)}", f"--num-cpus={cpus}", f"--temp-dir={folder}"]
            _start([*link.prefix(host), *RAY, *role, *own, f"--object-store-memory={STORE}"], variables)
        yield Cluster(address, {**variables, "TMPDIR": folder})


def _start(command: list[str], variables: Mapping[str, str]) -> None:
    environment = {**os.environ, **variables}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"a node of Ray did not start within {PATIENCE:.0f} seconds") from None
    if done.returncode:
        raise RuntimeError(f"a node of Ray did not start: {(done.stderr or done.stdout).strip()[-1000:]}")
