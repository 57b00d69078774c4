"""An append-only file of lines under a lock; what its disk has no room for is kept in memory, up to a limit."""

import fcntl
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from distprop.errors import CheckpointError

MOST_MEMORY = 64 << 20  # bytes of lines that the disk has not taken


class RecordFile:
    """Lines by their byte offsets, which are the same in memory and on the disk.

    Holds the file's lock as long as it is open. One thread appends, another reads and forgets.
    """

    def __init__(self, path: Path, least: int = 0) -> None:
        """Opens or makes the file; lines before the offset `least` are not needed any more."""
        self._file = _locked(path)
        self._reader = path.open("rb")
        self._lock = Lock()
        self._saved = max(_drop_torn_line(self._file), least)  # everything before is on the disk, or forgotten
        self._waiting: deque[bytes] = deque()
        self.size = self._saved

    @property
    def unsaved(self) -> int:
        """How many lines are in memory only."""
        return len(self._waiting)

    def append(self, line: bytes) -> None:
        """Add a line; with the operating system, or in memory, when this returns.

        Raises OSError where neither has room: then the line is not added.
        """
        with self._lock:
            self._waiting.append(line)
            self.size += len(line)
            error = self._save()
            if error is not None and self.size - self._saved > MOST_MEMORY:
                self.size -= len(self._waiting.pop())
                raise error

    def lines(self, start: int) -> Iterator[tuple[bytes, int]]:
        """Whole lines from the offset `start` on, each with the offset where it ends."""
        with self._lock:
            waiting, saved = tuple(self._waiting), self._saved
        end = start
        self._reader.seek(start)
        for line in self._reader:
            if not line.endswith(b"\n") or (waiting and end + len(line) > saved):
                break
            end += len(line)
            yield line.lstrip(b"\0"), end
        end = saved
        for line in waiting:
            end += len(line)
            if end > start:
                yield line, end

    def forget(self, offset: int) -> None:
        """Lines before `offset` are not needed any more: memory that they take is free."""
        with self._lock:
            while self._waiting and self._saved + len(self._waiting[0]) <= offset:
                self._saved += len(self._waiting.popleft())

    def save(self) -> None:
        """Give the disk what waits in memory, as far as it has room by now."""
        with self._lock:
            self._save()

    def close(self) -> None:
        """Release the lock."""
        self.save()
        self._reader.close()
        self._file.close()

    def _save(self) -> OSError | None:
        """A line that was written in part is written again: only `_saved` says what is there."""
        try:
            while self._waiting:
                _write_all(self._file.fileno(), self._waiting[0], self._saved)
                self._saved += len(self._waiting.popleft())
        except OSError as error:
            return error
        return None


def _write_all(file: int, line: bytes, offset: int) -> None:
    left = memoryview(line)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


def _locked(path: Path) -> BinaryIO:
    file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)  # noqa: SIM115 - kept open
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise CheckpointError(
            f"the spool {path.parent} is in use", "a running job writes to it", "wait until that job has ended"
        ) from error
    return file


def _drop_torn_line(file: BinaryIO) -> int:
    """The file's size without half a line that a process left when it died; nobody was told that it was kept."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if end and file.read(1) != b"\n":
        file.seek(0)
        end = file.read().rfind(b"\n") + 1
        file.truncate(end)
    return end
