"""A channel: messages over one connected socket, never waiting."""

import socket
import ssl
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from distprop.runtime.wire.frames import NOTHING, Piece, decode_whole
from distprop.runtime.wire.intake import Intake
from distprop.runtime.wire.slate import RING, SAID, Slate

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

    def __init__(self, sock: socket.socket, limit: int = LIMIT, slate: Slate | None = None) -> None:
        self._socket, self._intake, self._slate = sock, Intake(limit), slate
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
            said = self._slate.say(frame[0], self.sent) if self._slate else 0
            if said != SAID:
                self._send_now(NOTHING if said == RING else frame[0])
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
        return arrived if self._slate is None else self._in_order(self._slate, arrived)

    def _in_order(self, slate: Slate, arrived: list[Any]) -> list[Any]:
        """With what is on the slate: it was said when all that came before these bytes had been heard."""
        frame = slate.take()
        slate.heard(self.received)
        return arrived if frame is None else [decode_whole(frame), *arrived]

    def take(self) -> Any:
        """The message on the slate, where one is known to be. Raises FrameError."""
        frame = self._slate.take() if self._slate else None
        assert frame is not None, "only a look at the slate tells of it"
        return decode_whole(frame)

    def _ring_at(self, count: int) -> None:
        """Be woken when so many bytes are there, or the end."""
        if count != self._rings_at:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._rings_at = count

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
