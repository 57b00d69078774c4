"""Somebody who has connected and has not proved yet who it is. Nothing here waits."""

import selectors
import socket
import ssl
import time

from distprop.protocol.messages import Address
from distprop.runtime.wire.handshake import Admission, StrangerError
from distprop.runtime.wire.seal import Credentials, seal_host


class Guest:
    """A connection within its handshake, since the monotonic time `since`.

    waits_for: the selector's event at which it goes on.
    """

    def __init__(self, sock: socket.socket, secret: bytes, credentials: Credentials | None) -> None:
        sock.setblocking(False)
        self.sock = seal_host(sock, credentials) if credentials else sock
        self.since, self.waits_for = time.monotonic(), selectors.EVENT_READ
        self._admission, self._said, self._sealed = Admission(secret), b"", credentials is None

    def go_on(self) -> Address | None:
        """As far as its bytes are there: who it is, or None while more must come. Raises StrangerError, OSError."""
        try:
            if not self._sealed and isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
            self._sealed = True
            while self._admission.peer is None:
                self._hear()
        except (BlockingIOError, ssl.SSLWantReadError):
            self.waits_for = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            self.waits_for = selectors.EVENT_WRITE
        return self._admission.peer

    def _hear(self) -> None:
        """Read what is needed and no byte more: what comes behind is the peer's first message."""
        more = self.sock.recv(self._admission.needs - len(self._said))
        if not more:
            raise StrangerError("a peer went away within the handshake")
        self._said += more
        if len(self._said) == self._admission.needs:
            answer, self._said = self._admission.hear(self._said), b""
            if answer and self.sock.send(answer) < len(answer):
                raise StrangerError("a peer takes no answer within the handshake")
