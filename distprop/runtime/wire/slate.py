"""Slates: what two processes of a host say to each other at every step, in memory that both see.

A message through a socket costs two calls of the kernel, each of which finds its own code and data no longer in the
caches. So each of the two has a slate to write on, which the other reads: see docs/decisions/slates.md. It holds one
message, and is used while the other is awake and has heard all that was said before, by slate or socket: nothing
overtakes anything. Who has gone to sleep is told by the socket.
"""

import os
import select
import time
from collections.abc import Callable
from functools import partial
from mmap import mmap

from distprop.runtime.wire.frames import Piece
from distprop.runtime.wire.segment import Segment

try:
    from distprop.runtime.wire import _slates
except ImportError:  # there was no C compiler where distprop was built: all is said through sockets
    _slates = None  # type: ignore[assignment]

SIZE = 256  # bytes
SAID, RING = 1, 2
HEARD, OTHER, LATE = 1, 0, -1

Pair = tuple[int, mmap, mmap]
"""Our slate and the other's, with their connection's descriptor."""

Slates = tuple[Pair, ...]

Frames = tuple[bytes | None, ...]
"""What is expected on each of them; None where nothing is."""

Ready = list[tuple[int, int]]
"""Descriptors and their events, which are 0 where something is on a slate."""


class Slate:
    """Ours to write on, and the other's to read.

    say(message, sent): SAID, RING where the other must be woken to read it, or 0: not said. sent: bytes, by the socket.
    take(): the frame that was said, once, or None.  heard(received): tell the other how many bytes came by the socket.
    """

    def __init__(self, mine: mmap, theirs: mmap) -> None:
        self.memories = mine, theirs
        self.say: Callable[[Piece, int], int] = partial(_slates.say, mine, theirs)
        self.take: Callable[[], bytes | None] = partial(_slates.take, mine, theirs)
        self.heard: Callable[[int], None] = partial(_slates.heard, mine)


def blank(name: str) -> Segment:
    """A slate to write on; its descriptor is for the other process, and is to be closed then."""
    return Segment.create(f"distprop-slate-{name}", SIZE)


def paired(mine: Segment, theirs: int) -> Slate | None:
    """Our slate with the one behind the other's descriptor, if we can use them. Both descriptors are closed."""
    other = Segment.open(theirs, writable=False)
    os.close(mine.fd)
    os.close(theirs)
    return Slate(mine.memory, other.memory) if _slates is not None else None


def _look(epoll: select.epoll, slates: Slates, seconds: float) -> Ready:  # noqa: ARG001 - nothing is on them
    start = time.monotonic()
    ready = epoll.poll(0)
    while not ready and time.monotonic() - start < seconds:
        os.sched_yield()
        ready = epoll.poll(0)
    return ready


look: Callable[[select.epoll, Slates, float], Ready] = _look if _slates is None else _slates.look
"""What is ready at once, or within so many seconds, which are not slept through: whoever computes goes first.

Where nothing is ready the slates' other readers are told that we sleep.
"""


def hear(epoll: select.epoll, slates: Slates, frames: Frames, at: int, number: int, seconds: float) -> int:
    """HEARD where, at once or within so many seconds, every frame is on its slate, and nothing else; they are taken.

    The frames are to have this number (i64), `at` so many bytes, instead of their own.
    OTHER where something else is ready, and LATE where not all has been said: nothing is taken.
    """
    return _slates.hear(epoll, slates, frames, at, number, seconds)
