"""Runs a command as a process group of its own that ends with its owner, whatever ends the owner.

    python -m distprop.tracking.process_guard COMMAND...

The owner holds the other end of standard input. When that closes, since the owner closed it or was killed, all
processes of the group are ended. MLflow's server starts others, which know nothing of who started MLflow.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType

PATIENCE = 5.0  # seconds between the request to end and the end


class GuardedProcess:
    """A guarded command, as its owner sees it. Use it as a context manager: leaving it ends all of its processes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        guard = [sys.executable, "-m", "distprop.tracking.process_guard", *command]
        self._process = subprocess.Popen(  # noqa: S603 - a command of our own, no shell
            guard, env=dict(environment), stdin=subprocess.PIPE, start_new_session=True
        )

    def wait(self) -> int:
        """Wait until the command ends of itself; returns its exit code."""
        return self._process.wait()

    def __enter__(self) -> "GuardedProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(2 * PATIENCE)
        finally:
            _signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()


def main(command: Sequence[str]) -> int:
    """Run `command` until it ends, or until standard input does. Returns its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - the owner's command, no shell
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # after the child was made: it would inherit this
    threading.Thread(target=_end_with_owner, daemon=True).start()
    code = child.wait()
    _signal_group(os.getpid(), signal.SIGTERM)
    return code


def _end_with_owner() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns when the other end is closed
    _signal_group(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    _signal_group(os.getpid(), signal.SIGKILL)


def _signal_group(leader: int, number: int) -> None:
    """Signal all processes of a group. Nothing happens where none of them is left."""
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
