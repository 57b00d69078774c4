"""A driver notices that a process of Ray which it depends on is gone, before Ray ends it."""

import socket
from collections.abc import Callable, Iterator

import pytest

from distprop.errors import LostError, TrainingError
from distprop.runtime.ray.connecting import Connection
from distprop.runtime.ray.driver_link import DriverLink, Place

Listener = Callable[[], socket.socket]


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Makes processes that listen: their sockets."""
    made: list[socket.socket] = []

    def listen() -> socket.socket:
        made.append(socket.create_server(("127.0.0.1", 0)))
        return made[-1]

    yield listen
    for one in made:
        one.close()


def place_of(listening: socket.socket) -> Place:
    return Place(*listening.getsockname())


def test_nothing_is_missing_while_both_take_connections(listener: Listener) -> None:
    assert DriverLink(place_of(listener()), place_of(listener()), patience=0.0).missing() is None


def test_a_raylet_that_is_gone_is_named(listener: Listener) -> None:
    raylet, head = listener(), listener()
    link = DriverLink(place_of(raylet), place_of(head), patience=100.0)
    raylet.close()
    assert "raylet" in (link.missing() or "")


def test_a_head_may_be_away_for_as_long_as_its_patience_says(listener: Listener) -> None:
    raylet, head = listener(), listener()
    patient, strict = (DriverLink(place_of(raylet), place_of(head), patience) for patience in (100.0, 0.0))
    head.close()
    assert patient.missing() is None
    assert "head" in (strict.missing() or "")


def test_a_ray_that_is_not_ours_ends_the_job_at_once_and_says_what_to_do() -> None:
    with pytest.raises(TrainingError, match="resume the run") as raised:
        Connection(owned=True).require_ours("the raylet is gone")
    assert not isinstance(raised.value, LostError), "a lost server would be recovered from"
    Connection(owned=True, cpus=2).require_ours("the raylet is gone")
