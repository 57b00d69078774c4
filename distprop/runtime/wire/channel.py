"""A channel: messages over one connected socket, never waiting."""

import socket
import ssl
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from distprop.runtime.wire.frames import Piece
from distprop.runtime.wire.intake import Intake

LIMIT = 2**36
"""Bytes of the largest frame."""

BATCH = 64  # buffers handed to the kernel at once
LARGE, PORTION = 1 << 21, 1 << 19
"""Bytes to come from which on it takes a portion of them to wake us."""


def _nothing() -> int:
    """Bytes that a plain socket keeps to itself."""
    return 0


class Channel:
    """Both ends of a connection have one. Not thread-safe."""

    def __init__(self, sock: socket.socket, limit: int = LIMIT) -> None:
        self._socket, self._intake = sock, Intake(limit)
        sock.setblocking(False)
        self._rings_at = 1  # bytes
        self._remote = sock.family != socket.AF_UNIX
        if self._remote:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._hidden = sock.pending if isinstance(sock, ssl.SSLSocket) else _nothing  # deciphered: it does not ring
        self._out: deque[memoryview] = deque()
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
        if len(frame) == 1 and not self._out:
            self._send_now(frame[0])
            return
        self._out.extend(memoryview(part).cast("B") for part in frame)
        self.flush()

    def _send_now(self, piece: Piece) -> None:
        """The short way of what is said at every step."""
        try:
            sent = self._socket.send(piece)
        except BlockingIOError:
            sent = 0
        self.sent += sent
        if sent < len(piece):
            self._out.append(memoryview(piece)[sent:])

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

    def receive(self) -> list[Any]:
        """The messages that have arrived. Raises EOFError at the end, FrameError, or OSError."""
        arrived: list[Any] = []
        while not arrived or self._hidden():
            space = self._intake.space()
            try:
                count = self._socket.recv_into(space)
            except BlockingIOError:
                break
            if not count:
                self._intake.end()
                raise EOFError
            self.received += count
            arrived += self._intake.took(count)
            if count < len(space):
                break
        if self._remote:
            self._ring_at(PORTION if self._intake.missing > LARGE else 1)
        return arrived  # whatever else is there rings again

    def _ring_at(self, count: int) -> None:
        """Be woken when so many bytes are there, or the end."""
        if count != self._rings_at:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._rings_at = count

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
