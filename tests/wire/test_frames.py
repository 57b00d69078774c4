"""Frames carry any message and any arrays; what is no frame is refused."""

import logging
import select
import socket
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distprop.protocol.course import Round
from distprop.protocol.messages import Address, Begin, Contribute
from distprop.protocol.tree import Node
from distprop.runtime.memory import Arrived, Slot
from distprop.runtime.wire.channel import Channel
from distprop.runtime.wire.frames import HEAD, MAGIC, FrameError, decode, encode, read_head
from distprop.runtime.wire.post import Mail, Post
from tests.wire.words import arrays_of, letter

arrays = st.lists(npst.arrays(np.float32, st.integers(0, 2000), elements=st.just(1.5)), max_size=4)


def joined(message: Any) -> bytes:
    return b"".join(bytes(memoryview(part).cast("B")) for part in encode(message))


@given(arrays)
@settings(max_examples=50, deadline=None)
def test_what_is_decoded_is_what_was_encoded(sent: list[Any]) -> None:
    frame = joined(letter(4, sent))
    parts, total = read_head(frame[: HEAD.size], 10**9)
    assert total == len(frame) - HEAD.size
    got = decode(parts, memoryview(bytearray(frame[HEAD.size :])))
    assert got.attempt == 4
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(arrays_of(got), sent, strict=True))


@given(st.lists(arrays, min_size=1, max_size=4), st.integers(1, 5000))
@settings(max_examples=25, deadline=None)
def test_a_channel_gives_messages_whole_and_in_order_however_they_are_cut(letters: list[Any], cut: int) -> None:
    ours, theirs = socket.socketpair()
    channel, stream = Channel(theirs), b"".join(joined(letter(i, one)) for i, one in enumerate(letters))
    got = []
    for start in range(0, len(stream), cut):
        ours.sendall(stream[start : start + cut])
        while whole := list(channel.receive()):
            got += whole
    assert [one.attempt for one in got] == list(range(len(letters)))
    ours.close()
    with pytest.raises(EOFError):
        list(channel.receive())
    channel.close()


def test_large_messages_go_out_as_the_socket_takes_them() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    big = np.arange(3_000_000, dtype=np.float32)
    sender.send(encode(letter(0, [big])))
    assert sender.pending
    got: list[Any] = []
    while not got:
        sender.flush()
        got += list(receiver.receive())
    assert not sender.pending
    assert np.array_equal(arrays_of(got[0])[0], big)
    sender.close(), receiver.close()


@pytest.mark.parametrize(
    "head",
    [(MAGIC + 1, 1, 64), (MAGIC, 1, 10**6 + 1), (MAGIC, 100, 64)],
    ids=["stranger", "oversized", "too many parts"],
)
def test_what_is_no_frame_is_refused(head: tuple[int, int, int]) -> None:
    with pytest.raises(FrameError):
        read_head(HEAD.pack(*head), limit=10**6)


def test_a_frame_whose_parts_do_not_fit_is_refused() -> None:
    frame = joined(letter(0, [np.ones(9, np.float32)]))
    with pytest.raises(FrameError):
        decode(read_head(frame[: HEAD.size], 10**9)[0], memoryview(frame[HEAD.size :] + bytes(64)))


parts = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2**20), st.integers(0, 2**20), st.integers(0, 99)))


@given(st.integers(0, 2**40), st.integers(0, 1), st.integers(0, 2**20), parts)
@settings(max_examples=50, deadline=None)
def test_the_messages_of_every_step_are_short_and_the_same_at_the_other_end(
    version: int, kind: int, worker: int, drawn: list[tuple[int, int, int, int]]
) -> None:
    sums = tuple((Node(level, place), Slot(owner, slot)) for level, place, owner, slot in drawn)
    for sent in (Begin(3, Round(version, kind)), Contribute(3, Round(version, kind), worker, sums)):
        frame = joined(sent)
        assert len(frame) < 100 + 40 * len(drawn)
        assert decode(read_head(frame[: HEAD.size], 10**9)[0], memoryview(frame[HEAD.size :])) == sent


def test_sums_that_do_not_lie_in_a_workers_slot_are_told_at_length() -> None:
    sent = Contribute(0, Round(1, 1), 2, ((Node(0, 1), Arrived(np.ones(3, np.float32), np.ones(2))),))
    frame = joined(sent)
    got = decode(read_head(frame[: HEAD.size], 10**9)[0], memoryview(frame[HEAD.size :]))
    assert got._replace(parts=()) == sent._replace(parts=()) and got.parts[0][0] == Node(0, 1)


@pytest.mark.parametrize("content", [b"", bytes(8), bytes(31), bytes(40)])
def test_a_terse_frame_that_says_nothing_is_refused(content: bytes) -> None:
    with pytest.raises(FrameError):
        decode(0, memoryview(content))


def test_memory_of_a_large_message_is_used_again_when_nobody_looks_at_it() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    first = _carry(sender, receiver, 1)
    place, view = first.ctypes.data, first[5:]
    del first
    second = _carry(sender, receiver, 2)
    assert view[0] == 1
    assert second.ctypes.data != place
    place = second.ctypes.data
    del second
    assert _carry(sender, receiver, 3).ctypes.data == place
    sender.close(), receiver.close()


def _carry(sender: Channel, receiver: Channel, value: int) -> Any:
    sender.send(encode(letter(0, [np.full(1_000_000, value, np.float32)])))
    got: list[Any] = []
    while not got:
        sender.flush()
        got += receiver.receive()
    array = arrays_of(got[0])[0]
    assert (array == value).all()
    return array


def test_small_messages_behind_a_large_one_ring() -> None:
    """While much is to come a channel sleeps longer; not afterwards."""
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    sender, receiver = Channel(ours), Channel(theirs)
    letters = [letter(0, []), letter(1, [np.zeros(3_000_000, np.float32)]), letter(2, []), letter(3, [])]
    for one in letters[:3]:
        sender.send(encode(one))
    heard: list[int] = []
    while len(heard) < len(letters):
        sender.flush()
        ready, _, _ = select.select([receiver], [], [], 0 if sender.pending else 10)
        assert ready or sender.pending, f"only {heard} rang"
        heard += [one.attempt for one in receiver.receive()]
        if len(heard) == 3:
            sender.send(encode(letters[3]))
    assert heard == [0, 1, 2, 3]
    sender.close(), receiver.close(), listener.close()


@pytest.mark.parametrize("size", [100, 100_000], ids=["small", "large"])
def test_a_frame_that_is_cut_off_is_refused_and_the_end_after_a_whole_one_is_none(size: int) -> None:
    frame = joined(letter(0, [np.zeros(size // 4, np.float32)]))
    for kept, error in ((len(frame), EOFError), (len(frame) - 1, FrameError), (3, FrameError)):
        ours, theirs = socket.socketpair()
        channel = Channel(theirs)
        ours.sendall(frame[:kept])
        ours.close()
        with pytest.raises(error):
            list(iter(channel.receive, None))
        channel.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", HEAD.pack(MAGIC, 1, 2**40), joined(letter(0, []))[:-1]])
def test_a_peer_that_sends_no_frames_is_hung_up_on_and_that_is_logged(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = socket.socketpair()
    with closing(Post()) as post, caplog.at_level(logging.WARNING, "distprop"):
        post.connect(Address("server", 3), theirs)
        ours.sendall(said)
        ours.close()
        heard = [mail for _ in range(10) for mail in post.poll(0.1 if post.peers else 0)]
    assert heard == [Mail(Address("server", 3), None)]
    assert "the connection to server 3 is closed, 1 refused so far: a frame was" in caplog.text
