"""A channel: messages over one connected socket, never waiting."""

import socket
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from distprop.runtime.wire.frames import HEAD, Piece, decode, read_head

LIMIT = 2**36
"""Bytes of the largest frame."""

BATCH = 64  # buffers handed to the kernel at once


class Channel:
    """Both ends of a connection have one. Not thread-safe."""

    def __init__(self, sock: socket.socket, limit: int = LIMIT) -> None:
        self._socket, self._limit = sock, limit
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._out: deque[memoryview] = deque()
        self._head = memoryview(bytearray(HEAD.size))
        self._parts, self._into, self._filled = 0, self._head, 0
        self.sent = self.received = 0  # bytes

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._out)

    def send(self, frame: Sequence[Piece]) -> None:
        """Send of a frame what the socket takes now; the rest with `flush`. Raises OSError where the peer is gone."""
        self._out.extend(memoryview(part).cast("B") for part in frame)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now. Raises OSError where the peer is gone."""
        while self._out:
            try:
                sent = self._socket.sendmsg(list(islice(self._out, BATCH)))
            except BlockingIOError:
                return
            self.sent += sent
            self._drop(sent)

    def _drop(self, sent: int) -> None:
        while sent:
            first = self._out[0]
            if sent < first.nbytes:
                self._out[0] = first[sent:]
                return
            sent -= first.nbytes
            self._out.popleft()

    def receive(self) -> Iterator[Any]:
        """The messages that have arrived. Raises EOFError at the end, FrameError, or OSError."""
        while True:
            try:
                count = self._socket.recv_into(self._into[self._filled :])
            except BlockingIOError:
                return
            if not count:
                raise EOFError
            self.received += count
            self._filled += count
            if self._filled == len(self._into):
                yield from self._complete()

    def _complete(self) -> Iterator[Any]:
        if self._into is self._head:
            self._parts, total = read_head(self._head, self._limit)
            self._into = memoryview(bytearray(total))
        else:
            body, self._into = self._into, self._head
            yield decode(self._parts, body)
        self._filled = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
