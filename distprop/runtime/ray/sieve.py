"""Keeps Ray's news of dead processes out of stdout, which carries results only: they go to the log."""

import io
import logging
import re
import sys
from typing import Any

NEWS = re.compile(r"^(\x1b\[\d+m)*\((raylet|autoscaler)")
"""How lines begin that Ray prints by itself."""

_log = logging.getLogger("distprop.ray")


class Sieve(io.TextIOBase):
    """A stdout that passes on everything but Ray's own lines."""

    def __init__(self, out: Any) -> None:
        self.out = out
        self._ends_news = False

    def write(self, text: str) -> int:
        """Write to the real stdout, or to the log."""
        if NEWS.match(text):
            _log.debug(text.strip())
            self._ends_news = not text.endswith("\n")
        elif self._ends_news and text == "\n":
            self._ends_news = False
        else:
            self.out.write(text)
        return len(text)

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
