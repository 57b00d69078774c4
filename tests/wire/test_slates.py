"""What two processes of a host say by slates is heard once, in order with what comes by the socket, and by sleepers."""

import mmap
import os
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.protocol.course import EVALUATE, TRAIN, Round
from distprop.protocol.messages import COORDINATOR, Address, Begin
from distprop.runtime.wire import slate
from distprop.runtime.wire.frames import NOTHING, FrameError, decode_whole, encode
from distprop.runtime.wire.post import Mail, Post
from distprop.runtime.wire.segment import Segment
from distprop.runtime.wire.slate import Frames
from tests.wire.words import text_of, word

FOREVER = 600.0  # seconds, more than a test is given

SERVER, WORKER = Address("server", 0), Address("worker", 0)

needs_slates = pytest.mark.skipif(slate._slates is None, reason="slates were not compiled: no C compiler")


@contextmanager
def pair() -> Iterator[tuple[Post, Post]]:
    """The posts of a server and a worker of one host."""
    ours, theirs = socket.socketpair()
    one, other = slate.blank("server"), slate.blank("worker")
    fds = os.dup(one.fd), os.dup(other.fd)
    first, second = slate.paired(one, fds[1]), slate.paired(other, fds[0])
    with closing(Post()) as server, closing(Post()) as worker:
        server.connect(WORKER, ours, first)
        worker.connect(SERVER, theirs, second)
        yield server, worker


def texts(heard: Sequence[Mail]) -> list[str]:
    return [text_of(mail.message) for mail in heard]


said = st.tuples(st.sampled_from(["server", "worker"]), st.sampled_from(["small", "large", "listen"]))


@given(st.lists(said, max_size=60))
@settings(max_examples=150, deadline=None)
def test_all_is_heard_once_and_in_order_whichever_way_it_goes(acts: list[tuple[str, str]]) -> None:
    with pair() as (server, worker):
        posts, peers = {"server": server, "worker": worker}, {"server": WORKER, "worker": SERVER}
        told: dict[str, list[str]] = {"server": [], "worker": []}
        heard: dict[str, list[str]] = {"server": [], "worker": []}
        for number, (who, act) in enumerate(acts):
            if act == "listen":
                heard[who] += texts(posts[who].poll(0.0))
            else:
                told[who].append(f"{number} {'x' * 3000 if act == 'large' else ''}")
                posts[who].send(peers[who], word(told[who][-1]))
        for who, other in (("server", "worker"), ("worker", "server")):
            while more := posts[other].poll(0.0):
                heard[other] += texts(more)
            assert heard[other] == told[who]


@needs_slates
def test_who_is_awake_is_told_by_the_slate_and_who_sleeps_by_the_socket() -> None:
    with pair() as (server, worker):
        begins = [Begin(1, Round(version, 0)) for version in range(4)]
        server.send(WORKER, begins[0])  # nobody has looked yet
        assert worker.poll(0.0) == [Mail(SERVER, begins[0])]
        by_socket = server.traffic("worker")[0]
        server.send(WORKER, begins[1])
        assert worker.poll(0.0) == [Mail(SERVER, begins[1])]
        assert server.traffic("worker")[0] == by_socket > 0, "one who is awake is not told by the slate"
        assert worker.poll(0.0) == [], "a message is heard twice"
        server.send(WORKER, begins[2])  # the look that found nothing said that the worker sleeps
        assert server.traffic("worker")[0] > by_socket
        assert worker.poll(0.0) == [Mail(SERVER, begins[2])]


@needs_slates
def test_what_does_not_fit_and_what_comes_before_the_last_was_taken_go_by_the_socket() -> None:
    with pair() as (server, worker):
        server.send(WORKER, word("wake up"))
        assert texts(worker.poll(0.0)) == ["wake up"]
        for text in ("on the slate", "the slate is taken", "y" * 10_000):
            server.send(WORKER, word(text))
        heard = [text for _ in range(3) for text in texts(worker.poll(0.0))]
        assert heard == ["on the slate", "the slate is taken", "y" * 10_000]


def test_a_frame_that_only_wakes_says_nothing() -> None:
    ours, theirs = socket.socketpair()
    with closing(Post()) as post, closing(ours):
        post.connect(SERVER, theirs)
        ours.sendall(NOTHING + encode(Begin(1, Round(2, 0)))[0] + NOTHING)
        assert post.poll(1.0) == [Mail(SERVER, Begin(1, Round(2, 0)))]


@needs_slates
def test_one_who_fell_asleep_meanwhile_is_woken_by_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with pair() as (server, worker):
        server.send(WORKER, word("wake up"))
        assert texts(worker.poll(0.0)) == ["wake up"]
        by_socket, ours = server.traffic("worker")[0], server._channels[WORKER]._slate
        assert ours is not None
        say = ours.say
        monkeypatch.setattr(ours, "say", lambda frame, sent: slate.RING if say(frame, sent) else 0)
        server.send(WORKER, word("on the slate"))
        assert server.traffic("worker")[0] == by_socket + len(NOTHING)
        assert texts(worker.poll(FOREVER)) == ["on the slate"]
        assert worker.poll(0.0) == []


@needs_slates
def test_nobody_sleeps_through_what_is_said() -> None:
    """Both pause as long as others wait briefly, so that some messages find the other awake, falling asleep, asleep."""
    rounds, heard = 400, []

    def answer(post: Post) -> None:
        draw = random.Random(1)
        while len(heard) < rounds:
            for mail in post.poll(FOREVER):
                heard.append(text_of(mail.message))
                time.sleep(draw.choice((0.0, 0.0, 0.0009, 0.0011)))
                post.send(SERVER, mail.message)

    with pair() as (server, worker):
        thread = threading.Thread(target=answer, args=(worker,))
        thread.start()
        draw = random.Random(2)
        for number in range(rounds):
            server.send(WORKER, word(number))
            while not (answers := texts(server.poll(FOREVER))):  # what only woke us says nothing
                pass
            assert answers == [str(number)]
            time.sleep(draw.choice((0.0, 0.0, 0.0009, 0.0011)))
        thread.join()
    assert heard == [str(number) for number in range(rounds)]


@needs_slates
def test_many_slates_do_not_keep_a_socket_waiting() -> None:
    ours, theirs = socket.socketpair()
    with pair() as (server, worker), closing(Post()) as coordinator:
        server.connect(COORDINATOR, ours)
        coordinator.connect(SERVER, theirs)
        worker.send(SERVER, word("wake up"))
        heard = [server.poll(0.0)]
        coordinator.send(SERVER, word("halt"))
        for number in range(20):  # there is something on the slate at every look
            worker.send(SERVER, word(number))
            heard.append(server.poll(0.0))
    assert heard.count([Mail(WORKER, word(7))]) == 1, "the worker did not say one thing a look"
    assert Mail(COORDINATOR, word("halt")) in [mail for mails in heard for mail in mails]


@needs_slates
def test_a_worker_that_is_gone_leaves_no_descriptors() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pair() as (server, worker):
            worker.hang_up(SERVER)
            assert server.poll(1.0) == [Mail(WORKER, None)]
            assert server.poll(0.0) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@needs_slates
def test_what_is_no_slate_is_refused() -> None:
    small, whole = mmap.mmap(-1, 64), mmap.mmap(-1, slate.SIZE)
    with pytest.raises(ValueError, match="256 aligned bytes"):
        slate._slates.say(small, whole, b"", 0)
    with pytest.raises(ValueError, match="256 aligned bytes"):
        slate._slates.take(whole, small)
    with pytest.raises(BufferError):
        slate._slates.heard(Segment.open(slate.blank("x").fd, writable=False).memory, 1)


def test_what_is_no_frame_is_refused() -> None:
    for frame in (b"", b"GET / HTTP/1.1\r\n\r\n", encode(Begin(1, Round(2, 0)))[0][:-1], bytes(176)):
        with pytest.raises(FrameError):
            decode_whole(bytes(frame))


def test_without_a_compiler_all_is_said_through_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slate, "_slates", None)
    monkeypatch.setattr("distprop.runtime.wire.post.look", slate._look)
    with pair() as (server, worker):
        for number in range(3):
            server.send(WORKER, word(number))
            assert texts(worker.poll(1.0)) == [str(number)]
        assert server._slates == ()


# ---- what is expected -----------------------------------------------------------------------------------------------


def begin(version: int, attempt: int = 1) -> Begin:
    return Begin(attempt, Round(version, TRAIN))


@contextmanager
def expecting() -> Iterator[tuple[Post, Post, Frames]]:
    """As `pair`; both have heard something lately, and the worker expects the server to begin rounds."""
    with pair() as (server, worker):
        server.send(WORKER, word("wake up"))
        assert texts(worker.poll(0.0)) == ["wake up"]
        expected = worker.expect({SERVER: begin(0)})
        assert expected is not None
        yield server, worker, expected


@needs_slates
def test_what_is_expected_is_heard_once() -> None:
    with expecting() as (server, worker, expected):
        for version in (7, 8, 2**40):
            server.send(WORKER, begin(version))
            assert worker.hears(expected, version)
            server.send(WORKER, word("behind it"))
            assert texts(worker.poll(0.0)) == ["behind it"]


@needs_slates
@pytest.mark.parametrize(
    "said", [begin(6), begin(7, attempt=2), Begin(1, Round(7, EVALUATE)), word("else"), word("y" * 10_000)]
)
def test_what_is_not_expected_is_left_to_be_heard_as_it_is(said: Any) -> None:
    with expecting() as (server, worker, expected):
        server.send(WORKER, said)
        assert not worker.hears(expected, 7)
        assert texts(worker.poll(FOREVER)) == [text_of(said)]


@needs_slates
def test_the_round_is_heard_when_all_have_said_it_and_not_before() -> None:
    other = Address("worker", 1)
    (ours, theirs), one, two = socket.socketpair(), slate.blank("server"), slate.blank("worker")
    fds = os.dup(one.fd), os.dup(two.fd)
    with pair() as (server, first), closing(Post()) as second:
        server.connect(other, ours, slate.paired(one, fds[1]))
        second.connect(SERVER, theirs, slate.paired(two, fds[0]))
        for worker in (first, second):
            worker.send(SERVER, word("wake up"))
        assert texts(server.poll(0.0)) == ["wake up", "wake up"]
        expected = server.expect(dict.fromkeys((WORKER, other), begin(0)))
        assert expected is not None
        second.send(SERVER, begin(4))
        assert not server.hears(expected, 4)
        assert not server.brief, "a wait that was too long to be looked through is slept through"
        assert server.poll(0.0) == [Mail(other, begin(4))]
        for worker in (first, second):
            worker.send(SERVER, begin(5))
        server.brief = True
        assert server.hears(expected, 5)
        assert server.poll(0.0) == []
        assert server.expect({WORKER: begin(0), COORDINATOR: begin(0)}) is None, "it has no slate"


@needs_slates
def test_rounds_do_not_keep_a_socket_waiting() -> None:
    ours, theirs = socket.socketpair()
    with expecting() as (server, worker, expected), closing(Post()) as coordinator:
        worker.connect(COORDINATOR, ours)
        coordinator.connect(WORKER, theirs)
        coordinator.send(WORKER, word("halt"))
        version = 0
        server.send(WORKER, begin(version))
        while worker.hears(expected, version):
            version += 1
            assert version < 20
            server.send(WORKER, begin(version))
        assert sorted(texts(worker.poll(0.0)), key=str) == [begin(version), "halt"]


@needs_slates
def test_frames_without_room_for_a_number_are_refused() -> None:
    with expecting() as (_, worker, _), pytest.raises(ValueError, match="before its number"):
        worker.hears((b"short",), 7)
