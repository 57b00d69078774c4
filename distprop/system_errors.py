"""What the operating system refuses, as our errors: what happened, why in plain words, what to do.

`refusals` stands where a library of others touches files: OSError, which pyarrow raises too, says by its number what
was refused. Whatever the machine has run out of is a ResourceError; all else, a path or a right, is an AccessError.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from distprop.errors import AccessError, DistpropError, ResourceError


class Reason(NamedTuple):
    """Why the operating system refuses, and what to do."""

    why: str
    fix: str


ROOM = "make room there, or name a place on another disk"
RIGHTS = "change its permissions, run as a user who may use it, or name another place"
SCARCE = {  # what a machine can run out of
    errno.ENOSPC: Reason("the disk is full", ROOM),
    errno.EDQUOT: Reason("the disk quota of this user is used up", ROOM),
    errno.EFBIG: Reason(
        "the file would be larger than is allowed", "raise the limit (`ulimit -f`), or name another disk"
    ),
    errno.EMFILE: Reason("this process may open no more files", "raise the limit: ulimit -n 4096"),
    errno.ENFILE: Reason("this machine has too many open files", "end other processes, or raise fs.file-max"),
    errno.ENOMEM: Reason(
        "there is not enough memory", "end other processes, raise the limit (`ulimit -v`), or ask for less"
    ),
    errno.EAGAIN: Reason(
        "this user may start no more processes or threads", "end other processes, or raise the limit (`ulimit -u`)"
    ),
    errno.EIO: Reason(
        "the disk or terminal reports an error", "look at the system's log (`dmesg`), or use another disk"
    ),
}
REFUSED = {  # what a path or a user can be refused for
    errno.EROFS: Reason("it is on a filesystem that is read-only", "name a place that can be written"),
    errno.EACCES: Reason("this user has no permission", RIGHTS),
    errno.EPERM: Reason("this user is not allowed to, or the file is locked against changes", RIGHTS),
    errno.ENOENT: Reason("there is no such file or folder", "check the path"),
    errno.ENOTDIR: Reason("a part of the path is a file where a folder is wanted", "check the path"),
    errno.EISDIR: Reason("it is a folder where a file is wanted", "name a file"),
    errno.EEXIST: Reason("something else has the name already", "name another place, or move it away"),
    errno.ENAMETOOLONG: Reason("the name is longer than the filesystem allows", "choose a shorter one"),
    errno.ELOOP: Reason("it is a link that leads back to itself", "remove the link, or name the file that is meant"),
    errno.ENXIO: Reason("it is no plain file", "name a plain file"),
    errno.ESPIPE: Reason("it is no plain file", "name a plain file"),
    errno.EINVAL: Reason(
        "the filesystem does not take the name or the request", "name a plain file on a common filesystem"
    ),
    errno.EBUSY: Reason("another process uses it", "end that process, or wait for its end"),
    errno.ETXTBSY: Reason("another process runs it", "name another file"),
    errno.ESTALE: Reason("the network filesystem has lost it", "mount the filesystem again"),
}


NO_TEMPORARY = Reason(
    "there is no folder that takes temporary files", "set TMPDIR to a folder that can be written, and has room"
)


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Within it an OSError or MemoryError becomes ours. what: what cannot be done then: "p.parquet cannot be written".

    Raises AccessError, and ResourceError where the machine has run out of something.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        raise explained(error, what) from error


def explained(error: OSError | MemoryError, what: str) -> DistpropError:
    """The error in our words; of a number that is not in the tables, in the system's."""
    if isinstance(error, MemoryError):
        return ResourceError(what, *SCARCE[errno.ENOMEM])
    if "temporary directory" in str(error):
        return AccessError(what, *NO_TEMPORARY)
    number = _number(error)
    if number in SCARCE:
        reason = SCARCE[number]
        return ResourceError(what, f"{reason.why}{_named(error, what)}", reason.fix)
    words = os.strerror(number) if number else " ".join(str(error).split())[:300]
    reason = REFUSED.get(number, Reason(words, "check the path, and that this user may use it"))
    return AccessError(what, f"{reason.why}{_named(error, what)}", reason.fix)


def withheld(error: BaseException) -> bool:
    """Whether the system, and not the content of a file, is why it cannot be read: no right, no memory, no room."""
    rights = (errno.EACCES, errno.EPERM)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and _number(error) in {*SCARCE, *rights})


def require_text(path: str | os.PathLike[str]) -> None:
    """Raise AccessError for a path whose bytes are no UTF-8: pyarrow, SQLite and YAML take no other."""
    name = os.fspath(path)
    if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in name):
        raise AccessError(
            f"the path {name!a:.300} cannot be used",
            "it has bytes that are no text in UTF-8",
            "rename the file or folder, or work in another folder",
        )


def _number(error: OSError) -> int:
    """The system's number of the error; 0 where it has none. pyarrow writes it into the text, too."""
    if error.errno:
        return error.errno
    found = re.search(r"\[errno (\d+)\]", str(error))
    return int(found[1]) if found else 0


def _named(error: OSError, what: str) -> str:
    """The file that is meant, where `what` does not name it."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    return f": {name:.300}" if name and name not in what else ""
