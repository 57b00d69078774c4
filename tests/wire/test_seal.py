"""Connections between hosts under TLS: the same messages arrive, and nobody without the job's certificate gets in."""

import logging
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.errors import UserError
from distprop.protocol.messages import Address
from distprop.runtime.wire import certificate
from distprop.runtime.wire.certificate import new_credentials
from distprop.runtime.wire.channel import Channel
from distprop.runtime.wire.frames import encode
from distprop.runtime.wire.handshake import StrangerError
from distprop.runtime.wire.lobby import Lobby, listen_on
from distprop.runtime.wire.post import Post
from distprop.runtime.wire.reaching import reach
from distprop.runtime.wire.seal import Credentials, Sealed
from tests.wire.words import arrays_of, letter, word

SECRET, US, THEM = b"s" * 32, Address("server", 1), Address("server", 0)
MINE = new_credentials()
Door = tuple[str, int]


@contextmanager
def host(credentials: Credentials | None, post: Post) -> Iterator[tuple[Door, Lobby]]:
    """A lobby whose guests are put through to `post`."""
    listener = listen_on("127.0.0.1")
    with closing(Lobby(listener, SECRET, lambda peer, sock: post.put(sock, peer), credentials)) as lobby:
        yield listener.getsockname(), lobby


@pytest.fixture
def post() -> Iterator[Post]:
    with closing(Post()) as made:
        yield made


def hear(post: Post, until: Callable[[list[Any]], bool]) -> list[Any]:
    """What is heard until it is enough; sockets that arrive are connected."""
    heard: list[Any] = []
    for _ in range(2000):
        for mail in post.poll(0.01):
            if isinstance(mail.message, socket.socket) and mail.sender is not None:
                post.connect(mail.sender, mail.message)
            else:
                heard.append(mail.message)
        if until(heard):
            return heard
    raise AssertionError(f"not heard in time; only {len(heard)} messages")


def enter(post: Post, door: Door, credentials: Credentials | None) -> socket.socket:
    """Be let in, and go."""
    with reach(door, SECRET, US, credentials) as sock:
        hear(post, lambda _: bool(post.peers))
    return sock


def files(folder: Path, credentials: Credentials) -> Credentials:
    """The same, as files."""
    (folder / "job.pem").write_text(credentials.certificate)
    (folder / "job.key").write_text(credentials.key)
    return Credentials(str(folder / "job.pem"), str(folder / "job.key"), str(folder / "job.pem"))


@pytest.mark.parametrize("form", ["in memory", "files"])
def test_messages_of_all_sizes_arrive_as_they_were_sent_both_ways(form: str, post: Post, tmp_path: Path) -> None:
    credentials = MINE if form == "in memory" else files(tmp_path, MINE)
    sizes = (0, 1, 3, 4_000, 16_384, 70_000, 300_001, 3_000_000, 5)
    letters = [letter(0, [np.arange(size, dtype=np.float32)]) for size in sizes]
    with closing(Post()) as guest, host(credentials, post) as (door, lobby):
        sock = reach(door, SECRET, US, credentials)
        assert isinstance(sock, Sealed)
        guest.connect(THEM, sock)
        hear(post, lambda _: bool(post.peers))
        echo = threading.Thread(target=_echo, args=(post, len(letters)))
        echo.start()
        for one in letters:
            guest.send(THEM, one)
        heard = hear(guest, lambda heard: len(heard) == len(letters))
        echo.join()
    for one, other in zip(heard, letters, strict=True):
        np.testing.assert_array_equal(arrays_of(one)[0], arrays_of(other)[0], strict=True)
    assert lobby.refused == 0


def _echo(post: Post, count: int) -> None:
    """Send all back at once: many wait to be sent while others are still to be heard."""
    for one in hear(post, lambda heard: len(heard) == count):
        post.send(US, one)
    while post._writing:
        hear(post, lambda _: True)


def test_what_tls_has_decrypted_already_is_heard_though_the_socket_is_silent(post: Post) -> None:
    """The second message ends in the middle of a record, with the room full and nothing more to come."""
    with host(MINE, post) as (door, _), closing(Channel(reach(door, SECRET, US, MINE))) as guest:
        letters = [word("x" * 40_000), word("y" * 30_000)]
        guest.send([part for one in letters for part in encode(one)])
        assert hear(post, lambda heard: len(heard) == 2) == letters


def test_what_travels_cannot_be_read(post: Post) -> None:
    seen: list[bytes] = []
    with closing(Post()) as guest, host(MINE, post) as (door, _), _tapped(door, seen) as tap:
        guest.connect(THEM, reach(tap, SECRET, US, MINE))
        hear(post, lambda _: bool(post.peers))
        guest.send(THEM, word("a word in the clear"))
        assert hear(post, bool) == [word("a word in the clear")]
        guest.hang_up(THEM)
    assert sum(map(len, seen)) > 500
    assert b"clear" not in b"".join(seen)


@contextmanager
def _tapped(door: Door, seen: list[bytes]) -> Iterator[Door]:
    """A door that leads to another, with somebody who listens in between."""

    def carry(near: socket.socket, far: socket.socket) -> None:
        while said := near.recv(1 << 16):
            seen.append(said)
            far.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            near, _ = listener.accept()
            far = socket.create_connection(door)
            with near, far:
                back = threading.Thread(target=carry, args=(far, near), daemon=True)
                back.start()
                carry(near, far)
                far.shutdown(socket.SHUT_RDWR)
                back.join()

        between = threading.Thread(target=accept, daemon=True)
        between.start()
        yield listener.getsockname()
        between.join(10)


@pytest.mark.parametrize("guest", [None, new_credentials()], ids=["without TLS", "with another certificate"])
def test_a_guest_without_the_jobs_certificate_is_refused_counted_and_logged(
    guest: Credentials | None, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """It trusts the host, so that it is the host that has to refuse."""
    guest = guest and guest._replace(authority=MINE.certificate)
    with host(MINE, post) as (door, lobby), caplog.at_level(logging.WARNING, "distprop"):
        with pytest.raises((StrangerError, OSError)):
            reach(door, SECRET, US, guest)
        hear(post, lambda _: lobby.refused == 1)
        enter(post, door, MINE)
    assert "a connection was refused (1 so far)" in caplog.text


def test_a_host_with_another_certificate_is_not_trusted(post: Post) -> None:
    with host(new_credentials(), post) as (door, _), pytest.raises(OSError, match="certificate verify failed"):
        reach(door, SECRET, US, MINE)


def test_a_host_without_tls_is_not_trusted(post: Post) -> None:
    with host(None, post) as (door, _), pytest.raises(OSError, match="SSL"):
        reach(door, SECRET, US, MINE)


def test_tls_does_not_stand_in_for_the_secret(post: Post) -> None:
    with host(MINE, post) as (door, lobby):
        with pytest.raises(StrangerError, match="secret"):
            reach(door, b"x" * 32, US, MINE)
        hear(post, lambda _: lobby.refused == 1)


def test_credentials_that_are_none_are_the_users_error_before_anybody_comes(tmp_path: Path) -> None:
    nowhere = Credentials("nowhere.pem", "nowhere.key", "nowhere.pem")
    with closing(listen_on("127.0.0.1")) as listener, pytest.raises(UserError, match="cannot be used"):
        Lobby(listener, SECRET, lambda *_: None, nowhere)
    mixed = files(tmp_path, MINE._replace(key=new_credentials().key))
    with closing(listen_on("127.0.0.1")) as listener, pytest.raises(UserError) as caught:
        Lobby(listener, SECRET, lambda *_: None, mixed)
    assert "PEM" in caught.value.fix


def test_a_key_is_not_shown() -> None:
    assert "KEY" not in repr(MINE)
    assert "KEY" not in f"{MINE}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="it is the other way to make a certificate")
def test_a_certificate_is_made_without_the_library_too(monkeypatch: pytest.MonkeyPatch, post: Post) -> None:
    monkeypatch.setattr(certificate, "find_spec", lambda _: None)
    made = new_credentials()
    with host(made, post) as (door, _):
        enter(post, door, made)


def test_where_no_certificate_can_be_made_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError) as caught:
        new_credentials()
    assert "pip install cryptography" in caught.value.fix


def test_a_guest_that_says_nothing_holds_nobody_up(post: Post) -> None:
    with host(MINE, post) as (door, _), socket.create_connection(door):
        enter(post, door, MINE)


def test_plain_connections_are_as_they_were(post: Post) -> None:
    with host(None, post) as (door, _):
        assert not isinstance(enter(post, door, None), Sealed)
