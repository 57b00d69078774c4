"""Frames out of a stream of bytes: small ones by way of one room, large ones straight into memory of their own."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.runtime.wire.frames import HEAD, FrameError, decode, read_head

ROOM = 1 << 16  # bytes


class Intake:
    """Where a connection's bytes belong, and the messages that they make. No frame is longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room, self._filled = memoryview(bytearray(ROOM)), 0
        self._body: memoryview | None = None  # of a large frame that is arriving
        self._parts = self._missing = 0
        self._kept = np.empty(0, np.uint8)

    @property
    def missing(self) -> int:
        """Bytes of a large frame that are still to come."""
        return self._missing

    def space(self) -> memoryview:
        """Where the next bytes are to be put."""
        return self._room[self._filled :] if self._body is None else self._body[-self._missing :]

    def took(self, count: int) -> list[Any]:
        """The messages that are whole, now that `count` bytes have been put there. Raises FrameError."""
        if self._body is None:
            self._filled += count
            return self._small()
        self._missing -= count
        if self._missing:
            return []
        body, self._body = self._body, None
        return [decode(self._parts, body)]

    def end(self) -> None:
        """Nothing more will come. Raises FrameError in the middle of a frame."""
        if self._missing or self._filled:
            come = f"{self._filled} bytes of it had come" if self._filled else f"{self._missing} bytes were to come"
            raise FrameError("a frame was cut off", f"the peer went away when {come}")

    def _small(self) -> list[Any]:
        room, whole, start = self._room, [], 0
        while self._filled - start >= HEAD.size:
            self._parts, total = read_head(room, self._limit, start)
            body = start + HEAD.size
            if self._filled - body < total:
                self._grow(body, total)
                break
            start = body + total
            if total:
                whole.append(decode(self._parts, _apart(room[body:start]) if self._parts else room[body:start]))
        if self._body is None and start:
            self._filled -= start
            if self._filled:
                room[: self._filled] = room[start : start + self._filled]
        return whole

    def _grow(self, start: int, total: int) -> None:
        """Give a frame that the room cannot hold memory of its own, uninitialized: every byte will be written."""
        if total > ROOM - HEAD.size:
            there = self._filled - start
            self._body = self._memory(total).data
            self._body[:there] = self._room[start : self._filled]
            self._missing, self._filled = total - there, 0

    def _memory(self, total: int) -> NDArray[np.uint8]:
        """That of the large frame before, where nobody looks at it any more: new pages cost more than what is read."""
        if len(self._kept) != total or sys.getrefcount(self._kept) > 2:  # ours, and the argument
            self._kept = np.empty(total, np.uint8)
        return self._kept


def _apart(content: memoryview) -> memoryview:
    """A copy, for a message whose arrays outlive what is in the room; a terse one has none."""
    return memoryview(bytearray(content))
