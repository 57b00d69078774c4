"""Whether it is Ray that listens at an address is known before Ray is asked."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from distprop.errors import AddressError
from distprop.runtime.ray.greeting import EMPTY_SETTINGS, HEADER_BYTES, PREFACE, require_ray

Listen = Callable[[bytes | None], str]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """A function: listens for one client, answers what it is given and hangs up, or, with None, says nothing."""
    threads, silent = [], threading.Event()

    def start(answer: bytes | None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        threads.append(threading.Thread(target=serve, args=(listener, answer)))
        threads[-1].start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def serve(listener: socket.socket, answer: bytes | None) -> None:
        with listener, listener.accept()[0] as connection:
            asked = connection.recv(len(PREFACE) + len(EMPTY_SETTINGS), socket.MSG_WAITALL)
            if answer is None:
                silent.wait()
            elif asked:
                connection.sendall(answer)

    yield start
    silent.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("address", ["{}", "ray://{}"])
def test_settings_are_what_ray_answers_first(listen: Listen, address: str) -> None:
    require_ray(address.format(listen(EMPTY_SETTINGS)))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", EMPTY_SETTINGS[:3], bytes(HEADER_BYTES)])
def test_anything_else_is_no_ray(listen: Listen, answer: bytes) -> None:
    address = listen(answer)
    with pytest.raises(AddressError, match=f"no Ray cluster answers at {address}") as caught:
        require_ray(address)
    assert "no Ray: it answered with something else" in caught.value.why


def test_who_says_nothing_is_not_waited_for_long(listen: Listen) -> None:
    address = listen(None)
    with pytest.raises(AddressError, match="timed out"):
        require_ray(address, wait_seconds=0.05)


def test_nobody_there_is_said() -> None:
    with pytest.raises(AddressError, match="refused"):
        require_ray("127.0.0.1:1")


def test_names_are_left_to_ray_and_so_is_what_is_encrypted(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    require_ray("auto")
    monkeypatch.setenv("RAY_USE_TLS", "1")
    require_ray(listen(b"no frame that we could read"))
