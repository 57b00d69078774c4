"""One Ray cluster for all tests of this folder: a job on it takes a few seconds instead of ten."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from distprop.runtime.ray.connecting import settle_environment

CPUS = 8
HOLDING = Path(__file__).with_name("holding.py")


@dataclass(frozen=True)
class Running:
    """A cluster that runs: where it is, and the process that holds it."""

    address: str
    holder: psutil.Process

    def actors(self, kind: str) -> list[psutil.Process]:
        """The processes of the cluster's actors of a class."""
        return [one for one in self.holder.children(recursive=True) if _title(one).startswith(f"ray::{kind}")]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # gone meanwhile
        return ""


@pytest.fixture(scope="package")
def cluster() -> Iterator[Running]:
    """An existing cluster with 8 CPUs, which only these tests can use."""
    folder = tempfile.mkdtemp(prefix="dp-", dir="/tmp")  # short: Ray keeps sockets in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        settle_environment()
        _read_the_token_again()
        command = [sys.executable, str(HOLDING), str(CPUS), folder]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
        family: list[psutil.Process] = []
        try:
            assert holder.stdout is not None
            address = holder.stdout.readline().strip()
            assert address, "the cluster did not start"
            family = psutil.Process(holder.pid).children(recursive=True)
            yield Running(address, psutil.Process(holder.pid))
        finally:
            _end(holder, family)
            shutil.rmtree(folder, ignore_errors=True)
    _read_the_token_again()


def _read_the_token_again() -> None:
    """Ray reads its environment once, when it is imported: by other tests, perhaps."""
    from ray._private.authentication_test_utils import reset_auth_token_state

    reset_auth_token_state()


def _end(holder: "subprocess.Popen[str]", family: list[psutil.Process]) -> None:
    """Ask it to end; what is left after a while is ended by its id."""
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.close()
    try:
        holder.wait(20)
    except subprocess.TimeoutExpired:
        holder.kill()
        holder.wait()
    holder.stdout.close()
    _, left = psutil.wait_procs(family, timeout=5)
    for process in left:
        process.kill()
