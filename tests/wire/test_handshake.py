"""Who does not know the job's secret is not let in, and is counted."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from distprop.protocol.messages import Address
from distprop.runtime.wire.handshake import StrangerError, knock
from distprop.runtime.wire.lobby import Lobby, listen_on

SECRET = b"s" * 32


class Guests:
    """A lobby and whom it let in."""

    def __init__(self) -> None:
        self.here: list[Address] = []
        self.came = threading.Event()
        self.listener = listen_on("127.0.0.1")
        self.lobby = Lobby(self.listener, SECRET, self.welcome)

    def welcome(self, peer: Address, sock: socket.socket) -> None:
        self.here.append(peer)
        sock.close()
        self.came.set()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), timeout=10)


@pytest.fixture
def guests() -> Iterator[Guests]:
    guests = Guests()
    yield guests
    guests.lobby.close()


def test_a_peer_that_knows_the_secret_is_let_in(guests: Guests) -> None:
    with guests.connect() as sock:
        knock(sock, SECRET, Address("worker", 7))
        assert guests.came.wait(10)
    assert guests.here == [Address("worker", 7)]
    assert guests.lobby.refused == 0


def test_a_stranger_is_refused_by_both_ends_and_counted(guests: Guests) -> None:
    with guests.connect() as sock, pytest.raises(StrangerError, match="secret"):
        knock(sock, b"x" * 32, Address("server", 1))
    with guests.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(200))
        with suppress(ConnectionResetError):
            while sock.recv(4096):
                pass  # until it hangs up
    with guests.connect() as sock:
        knock(sock, SECRET, Address("coordinator"))
        assert guests.came.wait(10)
    assert guests.here == [Address("coordinator")]
    assert guests.lobby.refused >= 1


def test_a_host_that_does_not_know_the_secret_is_not_told_who_we_are() -> None:
    ours, theirs = socket.socketpair()
    impostor = threading.Thread(target=lambda: (theirs.recv(32), theirs.sendall(bytes(64))))
    impostor.start()
    with pytest.raises(StrangerError):
        knock(ours, SECRET, Address("worker", 1))
    impostor.join()
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    ours.close(), theirs.close()


def test_a_lobby_that_is_closed_takes_nobody(guests: Guests) -> None:
    """Its thread has ended, too: its descriptor may soon be that of another's socket."""
    door = guests.listener.getsockname()
    with guests.connect() as sock:
        knock(sock, SECRET, Address("worker", 7))
        assert guests.came.wait(10)
    guests.lobby.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(door, timeout=10)
