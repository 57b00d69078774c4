import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

OWNER = """
import os, sys
from distprop.tracking.process_guard import GuardedProcess
with GuardedProcess([sys.executable, "-c", sys.argv[1]], os.environ) as server:
    sys.exit(server.wait())
"""
SERVER = """
import signal, subprocess, sys, time
if {stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)  # {mark}"])
time.sleep(300)
"""


def alive(mark: str) -> set[int]:
    """The processes whose command lines have `mark`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "cmdline").read_bytes():
                found.add(int(process.name))
    return found


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def mark():
    name = f"guarded-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    for number in alive(name):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def start(mark: str, stubborn: bool = False) -> "subprocess.Popen[bytes]":
    """An owner, its guard, the command, and a process that the command started."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", OWNER, SERVER.format(mark=mark, stubborn=stubborn)]
    owner = subprocess.Popen(command, env=environment, start_new_session=True)
    until(lambda: len(alive(mark)) == 4)
    return owner


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
@pytest.mark.parametrize("stubborn", [False, True], ids=["obedient", "stubborn"])
def test_no_process_outlives_its_owner(mark, number, stubborn):
    owner = start(mark, stubborn)
    os.kill(owner.pid, number)
    owner.wait(60)
    until(lambda: not alive(mark))


def test_a_command_that_ends_takes_what_it_started_along_and_tells_its_code(mark):
    ends = SERVER.format(mark=mark, stubborn=False).replace("time.sleep(300)\n", "sys.exit(7)\n")
    assert ends.endswith("sys.exit(7)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", OWNER, ends], env=environment, timeout=60).returncode == 7
    until(lambda: not alive(mark))
