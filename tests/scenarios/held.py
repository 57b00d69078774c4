"""What processes hold of a machine: shared memory, listening sockets, files in the places that all share."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = "/memfd:distprop"
ACCEPTING = "00010000"  # in /proc/net/unix
LISTENING = "0A"  # in /proc/net/tcp


def everybody() -> list[int]:
    """All processes of the machine."""
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]


def memory(pids: Iterable[int]) -> set[int]:
    """The inodes of our anonymous segments that these hold, by a descriptor or a mapping."""
    return {inode for pid in pids for name, inode in (*_open(pid), *_mapped(pid)) if name.startswith(SHARED_MEMORY)}


def listeners(pids: Iterable[int]) -> set[int]:
    """The inodes of the sockets at which these listen, on addresses and on paths."""
    theirs = {inode for pid in pids for name, inode in _open(pid) if name.startswith("socket:")}
    return theirs & listening()


def listening() -> set[int]:
    """The inodes of all sockets at which anybody listens."""
    found = set()
    for table, column, mark, inode in (("tcp", 3, LISTENING, 9), ("tcp6", 3, LISTENING, 9), ("unix", 3, ACCEPTING, 6)):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[column] == mark:
                found.add(int(words[inode]))
    return found


def files(pids: Iterable[int], folders: Iterable[Path]) -> set[Path]:
    """The files below some folders that these hold, by a descriptor or a mapping."""
    names = {name for pid in pids for name, _ in (*_open(pid), *_mapped(pid))}
    return {Path(name) for name in names if any(name.startswith(f"{folder}/") for folder in folders)}


def _open(pid: int) -> Iterator[tuple[str, int]]:
    """Name and inode of what descriptors stand for."""
    with suppress(OSError):  # it has ended
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                path = f"/proc/{pid}/fd/{number}"
                yield os.readlink(path), os.stat(path).st_ino


def _mapped(pid: int) -> Iterator[tuple[str, int]]:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if found := re.match(r"\S+ \S+ \S+ \S+ (\d+)\s+(/.*)", line):
                yield found[2], int(found[1])
