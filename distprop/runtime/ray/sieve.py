"""Keeps Ray's news of dead processes out of stdout, which carries results only: they go to the log."""

import io
import logging
import sys
import threading
from typing import Any

LISTENER = "ray_listen_error_messages"
"""The thread of Ray that prints what its raylets report. Under another name its lines would just be printed."""

_log = logging.getLogger("distprop.ray")


class Sieve(io.TextIOBase):
    """A stdout that passes on everything but what Ray's listener prints."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def write(self, text: str) -> int:
        """Write to the real stdout, or to the log."""
        if threading.current_thread().name == LISTENER:
            if text.strip():
                _log.debug(text.strip())
            return len(text)
        written: int = self.out.write(text)
        return written

    def flush(self) -> None:
        """Flush the real stdout."""
        self.out.flush()

    def fileno(self) -> int:
        """The real stdout's descriptor."""
        number: int = self.out.fileno()
        return number

    def isatty(self) -> bool:
        """Whether the real stdout is a terminal."""
        return bool(self.out.isatty())


def sift_stdout() -> None:
    """Put the sieve in place."""
    if not isinstance(sys.stdout, Sieve):
        sys.stdout = Sieve(sys.stdout)


def restore_stdout() -> None:
    """Take it away again."""
    if isinstance(sys.stdout, Sieve):
        sys.stdout = sys.stdout.out
