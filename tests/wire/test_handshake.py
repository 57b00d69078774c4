"""Who does not know the job's secret is not let in, and is counted."""

import errno
import hmac
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from distprop.protocol.messages import Address
from distprop.runtime.wire import lobby
from distprop.runtime.wire.handshake import HELLO, Admission, StrangerError, knock
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


def test_idle_guests_cost_no_threads_and_hold_nobody_up(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are: those that came first make room."""
    monkeypatch.setattr(lobby, "MOST_GUESTS", 20)
    monkeypatch.setattr(lobby, "GRACE", 0.05)
    threads = threading.active_count()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(guests.connect())
        with guests.connect() as sock:
            knock(sock, SECRET, Address("worker", 7))
            assert guests.came.wait(10)
        assert threading.active_count() <= threads
        assert len(guests.lobby._guests) <= 20
        assert guests.lobby.refused >= 80


def test_a_guest_has_so_long_to_prove_itself_and_no_longer(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that says a byte now and then."""
    monkeypatch.setattr(lobby, "TIMEOUT", 0.2)
    with guests.connect() as silent, guests.connect() as slow:
        ended = threading.Event()
        drops = threading.Thread(target=_drop, args=(slow, ended))
        drops.start()
        assert silent.recv(1) == b""
        assert ended.wait(10)
        drops.join()
    assert guests.lobby.refused == 2 and guests.here == []


def _drop(sock: socket.socket, ended: threading.Event) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(b"a")
            sock.settimeout(0.02)
            with suppress(TimeoutError):
                if not sock.recv(1):
                    break
    ended.set()


@pytest.mark.parametrize("cut", [1, 7, 31, 33])
def test_a_handshake_may_come_in_pieces(cut: int) -> None:
    admission, said = Admission(SECRET), b""
    ours, theirs = socket.socketpair()
    guest = threading.Thread(target=knock, args=(ours, SECRET, Address("server", 5)))
    guest.start()
    theirs.settimeout(10)
    while admission.peer is None:
        said += theirs.recv(min(cut, admission.needs - len(said)))
        if len(said) == admission.needs:
            theirs.sendall(admission.hear(said))
            said = b""
    guest.join()
    assert admission.peer == Address("server", 5)
    ours.close(), theirs.close()


def test_a_role_that_nobody_has_is_refused() -> None:
    admission = Admission(SECRET)
    mine = admission.hear(bytes(32))[:32]
    hello = HELLO.pack(9, 1)
    with pytest.raises(StrangerError, match="our language"):
        admission.hear(hmac.digest(SECRET, b"guest" + mine + bytes(32) + hello, "sha256") + hello)


def test_a_lobby_lives_on_where_no_descriptor_is_left(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted:
        """A listener that has a descriptor for the second connection only."""

        def __init__(self, listener: socket.socket) -> None:
            self._listener, self.asked = listener, 0

        def __getattr__(self, name: str) -> object:
            return getattr(self._listener, name)

        def accept(self) -> object:
            self.asked += 1
            if self.asked == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return self._listener.accept()

    exhausted = Exhausted(listen_on("127.0.0.1"))
    door = exhausted.getsockname()  # type: ignore[operator]
    monkeypatch.setattr(lobby, "PAUSE", 0.01)
    with (
        closing(Lobby(exhausted, SECRET, guests.welcome)),  # type: ignore[arg-type]
        socket.create_connection(door, timeout=10) as sock,
    ):
        knock(sock, SECRET, Address("worker", 7))
        assert guests.came.wait(10)
    assert exhausted.asked == 2


def test_a_welcome_that_fails_does_not_end_the_lobby() -> None:
    came: list[Address] = []

    def welcome(peer: Address, sock: socket.socket) -> None:
        came.append(peer)
        sock.close()
        if len(came) == 1:
            raise RuntimeError("can't start new thread")

    listener = listen_on("127.0.0.1")
    with closing(Lobby(listener, SECRET, welcome)) as host:
        for number in range(2):
            with socket.create_connection(listener.getsockname(), timeout=10) as sock:
                knock(sock, SECRET, Address("worker", number))
                assert sock.recv(1) == b""
        assert (came, host.refused) == ([Address("worker", 0), Address("worker", 1)], 1)
