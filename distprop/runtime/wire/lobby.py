"""The lobby: takes connections, lets in who knows the secret, counts who does not.

One thread for all of them: a guest who says nothing costs a descriptor, and that for TIMEOUT seconds at most.
"""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from distprop.protocol.messages import Address
from distprop.runtime.wire.guest import Guest
from distprop.runtime.wire.handshake import TIMEOUT, StrangerError
from distprop.runtime.wire.seal import Credentials, context_of

Welcome = Callable[[Address, socket.socket], None]

MOST_GUESTS = 256
"""Connections within the handshake. Where there are so many, others wait at the door, and each has GRACE only."""

GRACE = 1.0  # seconds
PAUSE = 0.1  # seconds without accepting where the process has no descriptors left

_log = logging.getLogger("distprop")


class Lobby:
    """Listens in a thread of its own; `welcome` is called there with every peer that was let in, and must not wait."""

    def __init__(
        self, listener: socket.socket, secret: bytes, welcome: Welcome, credentials: Credentials | None = None
    ) -> None:
        self._listener, self._secret, self._welcome = listener, secret, welcome
        self._credentials, self.refused = credentials, 0
        if credentials:
            context_of(credentials, host=True)  # what is wrong with them is to be said here, not to each guest
        listener.setblocking(False)
        self._guests: dict[Guest, None] = {}  # in the order in which they came
        self._closed, self._open_from = False, 0.0
        self._bell, self._ring = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._listen, name="lobby", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closed:
            self._open_or_shut()
            for key, _ in self._selector.select(self._patience()):
                if isinstance(key.data, Guest):
                    self._hear(key.data)
                elif key.fileobj is self._listener:
                    self._accept()
            self._dismiss_late()

    def _open_or_shut(self) -> None:
        """Take newcomers as long as there is room."""
        wanted = len(self._guests) < MOST_GUESTS and time.monotonic() >= self._open_from
        if wanted != (self._listener in self._selector.get_map()):
            if wanted:
                self._selector.register(self._listener, selectors.EVENT_READ)
            else:
                self._selector.unregister(self._listener)

    def _patience(self) -> float:
        """Seconds until somebody's time is over."""
        oldest = next(iter(self._guests), None)
        ends = [oldest.since + self._time_for_each()] if oldest else []
        ends += [self._open_from] if self._listener not in self._selector.get_map() and self._open_from else []
        return max(0.0, min(ends, default=time.monotonic() + TIMEOUT) - time.monotonic())

    def _time_for_each(self) -> float:
        return TIMEOUT if len(self._guests) < MOST_GUESTS else GRACE

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left: those of guests who say nothing will be
            self._open_from = time.monotonic() + PAUSE
            _log.warning("no connection can be taken: %s", error)
            return
        try:
            guest = Guest(sock, self._secret, self._credentials)
        except OSError as error:
            self._refuse(sock, error)
            return
        self._guests[guest] = None
        self._selector.register(guest.sock, guest.waits_for, guest)
        self._hear(guest)

    def _hear(self, guest: Guest) -> None:
        """Go on with a guest's handshake, as far as it is there."""
        try:
            peer = guest.go_on()
            if peer is None:
                self._selector.modify(guest.sock, guest.waits_for, guest)
                return
            self._forget(guest)
            guest.sock.settimeout(TIMEOUT)
            self._welcome(peer, guest.sock)
        except Exception as error:  # whatever it was, others are still to be let in
            self._forget(guest)
            self._refuse(guest.sock, error)

    def _dismiss_late(self) -> None:
        now, time_for_each = time.monotonic(), self._time_for_each()
        for guest in [one for one in self._guests if now >= one.since + time_for_each]:
            self._forget(guest)
            self._refuse(guest.sock, StrangerError(f"a peer did not prove itself within {time_for_each:g} seconds"))

    def _forget(self, guest: Guest) -> None:
        if guest in self._guests:
            del self._guests[guest]
            self._selector.unregister(guest.sock)

    def _refuse(self, sock: socket.socket, error: Exception) -> None:
        """Count all; of many, tell of ever fewer."""
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:
            _log.warning("a connection was refused (%d so far): %s", self.refused, error)
        sock.close()

    def close(self) -> None:
        """Take no more connections, and hang up on who is not in yet."""
        if self._closed:
            return
        self._closed = True
        self._ring.send(b"!")
        self._thread.join()
        for guest in self._guests:
            guest.sock.close()
        self._selector.close()
        for sock in (self._bell, self._ring, self._listener):
            with suppress(OSError):
                sock.close()


def listen_here(path: str) -> socket.socket:
    """A Unix socket for the processes of this host; a path that begins with NUL is an abstract one, without a file."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    return listener


def listen_on(address: str) -> socket.socket:
    """A TCP socket for other hosts, on a free port of `address`."""
    return socket.create_server((address, 0), backlog=128)
