"""Values over a pipe: pickled, each behind its length. Both ends are ours, on one machine."""

import os
import pickle
from typing import Any, BinaryIO

HEADER = 8  # bytes: the length of what follows


def frame(content: Any) -> bytes:
    """A value as it goes over the pipe."""
    pickled = pickle.dumps(content)
    return len(pickled).to_bytes(HEADER, "little") + pickled


def write(fd: int, framed: bytes) -> None:
    """Write all of it. Raises BrokenPipeError where nobody reads any more."""
    left = memoryview(framed)
    while left:
        left = left[os.write(fd, left) :]


def read(source: BinaryIO) -> tuple[Any, ...]:
    """The next value, alone in a tuple; () where no whole one comes any more."""
    header = _exactly(source, HEADER)
    content = _exactly(source, int.from_bytes(header, "little")) if header is not None else None
    return (pickle.loads(content),) if content is not None else ()  # noqa: S301 - see above


def _exactly(source: BinaryIO, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        more = source.read(size - len(found))
        if not more:
            return None
        found += more
    return bytes(found)
