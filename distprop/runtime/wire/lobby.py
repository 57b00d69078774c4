"""The lobby: takes connections, lets in who knows the secret, counts who does not."""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from distprop.errors import DistpropError
from distprop.protocol.messages import Address
from distprop.runtime.wire.handshake import admit
from distprop.runtime.wire.seal import Credentials, context_of, seal_host

Welcome = Callable[[Address, socket.socket], None]

_log = logging.getLogger("distprop")


class Lobby:
    """Listens in a thread of its own; `welcome` is called there with every peer that was let in."""

    def __init__(
        self, listener: socket.socket, secret: bytes, welcome: Welcome, credentials: Credentials | None = None
    ) -> None:
        self._listener, self._secret, self._welcome = listener, secret, welcome
        self._credentials, self.refused = credentials, 0
        if credentials:
            context_of(credentials, host=True)  # what is wrong with them is to be said here, not to each guest
        self._thread = threading.Thread(target=self._listen, name="lobby", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._greet, args=(sock,), name="handshake", daemon=True).start()

    def _greet(self, sock: socket.socket) -> None:
        try:
            sock = seal_host(sock, self._credentials) if self._credentials else sock
            self._welcome(admit(sock, self._secret), sock)
        except (DistpropError, OSError, ValueError) as error:
            self.refused += 1
            _log.warning("a connection was refused (%d so far): %s", self.refused, error)
            sock.close()

    def close(self) -> None:
        """Take no more connections. A socket that is only closed would still take one for who waits at it."""
        with suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


def listen_here(path: str) -> socket.socket:
    """A Unix socket for the processes of this host; a path that begins with NUL is an abstract one, without a file."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    return listener


def listen_on(address: str) -> socket.socket:
    """A TCP socket for other hosts, on a free port of `address`."""
    return socket.create_server((address, 0), backlog=128)
