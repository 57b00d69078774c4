"""All messages are told field by field, and nothing else is sent or heard."""

import contextlib
import dataclasses
import pickle
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distprop.errors import DataError, DistpropError, TrainingError
from distprop.protocol.course import Round
from distprop.protocol.messages import Address, Failed, Halt, Norms
from distprop.protocol.tree import Node
from distprop.runtime.memory import Slot
from distprop.runtime.wire import kinds, schema
from distprop.runtime.wire.frames import HEAD, MAGIC, FrameError, decode_whole, encode
from distprop.runtime.wire.handshake import StrangerError
from distprop.runtime.wire.post import Mail, Post

WHOLES = st.integers(-(2**63), 2**63 - 1)
SENTENCE = st.text(max_size=20)
FAMILY = st.sampled_from(sorted(schema.ERRORS))
ERROR = st.builds(lambda name, *said: schema.ERRORS[name](*said), FAMILY, SENTENCE, SENTENCE, SENTENCE)
NUMBERS = {"q": WHOLES, "d": st.floats(allow_nan=False), "?": st.booleans()}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a kind."""
    if isinstance(kind, kinds.Number):
        return NUMBERS[kind.letter]
    if isinstance(kind, kinds.Array):
        shapes = st.sampled_from(kind._axes).flatmap(
            lambda axes: npst.array_shapes(min_dims=axes, max_dims=axes, min_side=0, max_side=4)
        )
        return npst.arrays(kind._dtype, shapes, elements=st.just(1.5) if kind._dtype.kind == "f" else st.just(7))
    if isinstance(kind, kinds.Record) and kind.made in (Node, Slot):  # they are said in four bytes each where they can
        return st.builds(kind.made, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    if isinstance(kind, kinds.Record):
        return st.builds(kind.made, *map(values, kind.kinds.values()))
    if isinstance(kind, kinds.Choice):
        return st.one_of(*map(values, kind._kinds))
    if isinstance(kind, kinds.Many):
        return st.lists(values(kind._kind), max_size=3).map(tuple)
    if isinstance(kind, kinds.Row):
        return st.tuples(*map(values, kind._kinds))
    if isinstance(kind, kinds.Table):
        return st.dictionaries(values(kind._keys._kind), values(kind._value), max_size=3)
    if isinstance(kind, kinds.Maybe):
        return st.none() | values(kind._kind)
    return SENTENCE if isinstance(kind, kinds.Text) else ERROR


def plain(value: Any) -> Any:
    """What can be compared: arrays and what has them as what is in them."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if dataclasses.is_dataclass(value):
        return type(value), [plain(getattr(value, one.name)) for one in dataclasses.fields(value)]
    return (type(value), [plain(one) for one in value]) if isinstance(value, tuple) else value


def joined(message: Any) -> bytes:
    return b"".join(bytes(memoryview(part).cast("B")) for part in encode(message))


def records(kind: Any) -> Iterator[kinds.Record]:
    """All records in a kind."""
    inside = [kind, *vars(kind).values()] if not isinstance(kind, kinds.Record) else [*kind.kinds.values()]
    if isinstance(kind, kinds.Record):
        yield kind
    for one in inside:
        for part in one if isinstance(one, tuple) else (one,):
            if part is not kind and type(part).__module__ in (kinds.__name__, schema.__name__):
                yield from records(part)


@pytest.mark.parametrize(
    "record", list(dict.fromkeys(records(schema.MESSAGE))), ids=lambda record: record.made.__name__
)
def test_a_record_has_all_fields_of_its_class_in_their_order(record: kinds.Record) -> None:
    """Also a class that is given another field has to say here how that is told."""
    made: Any = record.made
    named = made._fields if issubclass(made, tuple) else [one.name for one in dataclasses.fields(made)]
    assert list(record.kinds) == list(named)


@given(data=st.data())
@pytest.mark.parametrize("kind", schema.MESSAGE._kinds, ids=lambda kind: kind.made.__name__)
def test_what_is_heard_is_what_was_said(kind: kinds.Record, data: st.DataObject) -> None:
    said = data.draw(values(kind))
    assert plain(decode_whole(joined(said))) == plain(said)


@given(data=st.data())
def test_any_damage_is_refused_or_makes_another_message(data: st.DataObject) -> None:
    frame = bytearray(joined(data.draw(values(schema.MESSAGE))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame) - 1))
        how = data.draw(st.sampled_from(["flip", "fill", "cut", "add"]))
        if how == "flip":
            frame[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "fill":
            frame[at : at + 4] = b"\xff" * len(frame[at : at + 4])
        elif how == "cut":
            del frame[at + 1 :]
        else:
            frame[at:at] = bytes(data.draw(st.integers(1, 80)))
    with contextlib.suppress(FrameError):
        decode_whole(bytes(frame))


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_behind_a_head_are_refused_or_a_message(content: bytes, parts: int) -> None:
    with contextlib.suppress(FrameError):
        decode_whole(HEAD.pack(MAGIC, parts, len(content)) + content)


def framed(head: bytes, *arrays: bytes) -> bytes:
    """A frame of these parts."""
    parts = [head, *arrays]
    index = struct.pack(f"<{len(parts)}Q", *map(len, parts))
    content = b"".join(one + bytes(-len(one) % 64) for one in (index, *parts))
    return HEAD.pack(MAGIC, len(parts), len(content)) + content


NORMS = schema.MESSAGE._number[Norms]
HEAD_OF_NORMS = bytes([NORMS]) + struct.pack("<4q", 1, 2, 1, 0)
REFUSED = {
    "an unknown type": framed(bytes([250])),
    "nothing": framed(b""),
    "an extra byte": framed(HEAD_OF_NORMS + struct.pack("<BQ", 1, 2) + b"x", bytes(16)),
    "an extra array": framed(HEAD_OF_NORMS + struct.pack("<BQ", 1, 2), bytes(16), bytes(16)),
    "an array that is missing": framed(HEAD_OF_NORMS + struct.pack("<BQ", 1, 2)),
    "another shape": framed(HEAD_OF_NORMS + struct.pack("<BQ", 1, 3), bytes(16)),
    "a shape of many": framed(HEAD_OF_NORMS + struct.pack("<B2Q", 2, 2**62, 2**62), bytes(16)),
    "an axis too many": framed(HEAD_OF_NORMS + struct.pack("<B3Q", 3, 1, 1, 2), bytes(16)),
    "a pickle": framed(pickle.dumps(print)),
    "half a number": framed(HEAD_OF_NORMS[:-3]),
    "a million things": framed(bytes([schema.MESSAGE._number[Failed]]) + b"\xff\xff\xff\x7f"),
}


@pytest.mark.parametrize("frame", REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_message_is_refused_and_counted(frame: bytes) -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(Post()) as post:
        post.connect(Address("server", 3), theirs)
        ours.sendall(joined(Halt(1, 2)) + frame)
        heard = [mail for _ in range(10) for mail in post.poll(0.1 if post.peers else 0)]
        assert heard[-1] == Mail(Address("server", 3), None) and post.refused == 1


def test_an_array_is_a_view_of_what_came_and_can_be_written_to() -> None:
    frame = bytearray(joined(Norms(1, Round(2, 1), 0, np.arange(6.0).reshape(2, 3))))
    got = decode_whole(bytes(frame)).sums
    got += 1
    np.testing.assert_array_equal(got, np.arange(1.0, 7.0).reshape(2, 3))


@pytest.mark.parametrize("sums", [np.ones(3, np.float32), np.ones((1, 1, 1)), np.array(["a"]), np.array([print])])
def test_an_array_of_another_kind_is_not_sent(sums: Any) -> None:
    with pytest.raises(TypeError, match="is none of float64"):
        encode(Norms(1, Round(2, 1), 0, sums))


@pytest.mark.parametrize("message", ["a text", print, object(), {"a": 1}, None])
def test_what_is_no_message_is_not_sent(message: Any) -> None:
    with pytest.raises(TypeError, match="is not sent"):
        encode(message)


class OfATestError(DataError):
    """Raised by nobody."""


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (DataError("a", "b", "c"), DataError("a", "b", "c")),
        (OfATestError("a", "b"), DataError("a", "b")),
        (StrangerError("a"), DistpropError("a")),
        (TrainingError("a \ud800"), TrainingError("a \ud800")),
        (ValueError("a"), DistpropError("a")),
    ],
    ids=str,
)
def test_errors_travel_by_the_name_of_their_kind(error: Exception, heard: DistpropError) -> None:
    got = decode_whole(joined(Failed(Address("worker", 1), error))).error
    assert type(got) is type(heard) and (got.what, got.why, got.fix) == (heard.what, heard.why, heard.fix)
