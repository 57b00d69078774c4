"""One process at a time trains in a folder of checkpoints. A lock says so, which dies with the process that holds it.

It is the kernel's (`flock`), on a file that also says who holds it. On NFS it holds between hosts, too. Filesystems
that know no locks, and object stores, have none: there nothing keeps two processes apart.
"""

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from distprop.errors import CheckpointError
from distprop.files import Folder

FILE = "lock"

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def held(folder: str) -> Iterator[None]:
    """Within it no other process trains in `folder`.

    Raises CheckpointError where one does, or where nothing can be written there.
    """
    if not Folder(folder).local:
        yield
        return
    try:
        missing = [one for one in (Path(folder), *Path(folder).parents) if not one.exists()]
        descriptor = _take(Path(folder))
    except OSError as error:
        raise CheckpointError(
            f"nothing can be written into {folder}",
            error.strerror or str(error),
            "name a folder that can be written to with `checkpoint.dir`, or make room there",
        ) from error
    try:
        yield
    finally:
        _release(Path(folder), descriptor, missing)


def _take(folder: Path) -> int:
    """The descriptor of the locked file, which is the one that has the name now: who held it before took it away."""
    file = folder / FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the folder was empty and has just been taken away
            continue
        try:
            _lock(descriptor, folder)
            if _is(file, descriptor):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(
            f"another process trains in {folder}",
            f"it is {_holder(descriptor)}",
            "wait for its end, or end it; or train under another --run-key",
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logging.getLogger("distprop").warning(
            "the filesystem of %s has no locks: nothing keeps a second process from training there", folder
        )


def _is(file: Path, descriptor: int) -> bool:
    try:
        there = file.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _sign(descriptor: int) -> None:
    """Say who holds it. Where there is no room for that, the lock still holds."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    said = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}).encode()
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, said, 0)


def _holder(descriptor: int) -> str:
    try:
        said = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {said['process']} on host {said['host']}, since {said['since']}"
    except (ValueError, KeyError, TypeError):  # it has just taken the lock, and not yet said who it is
        return "a process that has just begun"


def _release(folder: Path, descriptor: int, made: Sequence[Path]) -> None:
    """Take the file away while it is still ours, and of the folders that were made for it those that are empty."""
    with suppress(OSError):
        (folder / FILE).unlink()
    os.close(descriptor)
    with suppress(OSError):
        for one in made:
            one.rmdir()
