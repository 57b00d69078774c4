"""Standard output and standard error where they are closed, full, or their reader is gone: no print ends the work."""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO


def prepare() -> None:
    """Have all three standard streams, and no character that they cannot write.

    A descriptor that is closed (`>&-`) would become that of the next file that is opened, and others print into it.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - open as long as the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")


def settle() -> None:
    """Write what waits in the streams, or drop it: where that fails at the very end, Python changes the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(stream)


def silence(stream: TextIO) -> None:
    """Have the stream write nowhere from now on, what waits in it included."""
    with suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def reader_gone(error: BaseException) -> bool:
    """Whether whoever reads a pipe has closed it: `distprop list | head`."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


class Lenient(io.TextIOBase):
    """A stream whose writes do not fail: where it takes nothing, it is silenced."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            silence(self._stream)
        return len(text)

    def flush(self) -> None:
        """Write what waits, or drop it."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            silence(self._stream)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Its characters' encoding."""
        return self._stream.encoding
