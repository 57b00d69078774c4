"""Frames: a message and its arrays as bytes, the arrays beside the message and never inside it.

    magic, number of parts (u32 each), length of the rest (u64) | length of each part (u64) | parts, 64-byte aligned

The first part is the message by its schema, the others are the bytes of its arrays. A frame of no parts is a terse
message, whole. Nothing in a frame says what to call or to import: it is one of the messages of schema.py, or refused.
"""

import struct
from typing import Any

from distprop.errors import DistpropError
from distprop.runtime.wire import terse
from distprop.runtime.wire.kinds import UNREADABLE, In, Out
from distprop.runtime.wire.schema import MESSAGE

Piece = bytes | memoryview

HEAD = struct.Struct("<IIQ")
MAGIC = 0x64705232
ALIGN = 64
TERSE = struct.pack("<II", MAGIC, 0)
"""How the frame of a terse message begins."""

VERSION_AT = HEAD.size + terse.VERSION_AT
"""Where the version (i64) is in the frame of a terse message."""

NOTHING = HEAD.pack(MAGIC, 0, 0)
"""A frame that says nothing, to wake the one who receives it."""


class FrameError(DistpropError):
    """A peer sent something that is no frame, or a larger one than is allowed."""


def encode(message: Any) -> list[Piece]:
    """The frame of a message, as buffers that are sent one behind the other; arrays are not copied."""
    brief = terse.write(message)
    return _encode_at_length(message) if brief is None else [HEAD.pack(MAGIC, 0, len(brief)) + brief]


def _encode_at_length(message: Any) -> list[Piece]:
    out = Out()
    MESSAGE.write(message, out)
    head = bytes(out.head)
    parts: list[Piece] = [head, *out.arrays]
    lengths = [len(part) for part in parts]
    index = struct.pack(f"<{len(parts)}Q", *lengths)
    total = _aligned(len(index)) + sum(map(_aligned, lengths))
    front = b"".join((HEAD.pack(MAGIC, len(parts), total), _padded(index), _padded(head)))
    behind = (piece for part in out.arrays for piece in (part, _padding(len(part))) if len(piece))
    return [front, *behind]


def _padding(length: int) -> bytes:
    return bytes(-length % ALIGN)


def _padded(content: bytes) -> bytes:
    return content + _padding(len(content))


def read_head(room: Piece, limit: int, start: int = 0) -> tuple[int, int]:
    """Number of parts and length of the rest of the frame that begins at `start`. Raises FrameError."""
    magic, parts, total = HEAD.unpack_from(room, start)
    if magic != MAGIC or total > limit or 8 * parts > total:
        raise FrameError("a frame was refused", f"it claims {parts} parts and {total} bytes; {limit} are allowed")
    return parts, total


def decode_whole(frame: bytes) -> Any:
    """The message of a frame that has its head. Raises FrameError."""
    if frame.startswith(TERSE):
        return _decode_brief(frame[HEAD.size :])
    parts, total = read_head(frame.ljust(HEAD.size, bytes(1)), len(frame))
    if total != len(frame) - HEAD.size:
        raise FrameError("a frame was refused", f"it has {len(frame)} bytes, and claims {total} behind its head")
    return _decode_at_length(parts, memoryview(bytearray(frame))[HEAD.size :])


def decode(parts: int, rest: memoryview) -> Any:
    """The message of a frame; its arrays are views of `rest`. Raises FrameError."""
    return _decode_at_length(parts, rest) if parts else _decode_brief(rest)


def _decode_brief(rest: Piece) -> Any:
    try:
        return terse.read(rest)
    except ValueError as error:
        raise FrameError("a frame was refused", f"it is no message: {error}") from None


def _decode_at_length(parts: int, rest: memoryview) -> Any:
    lengths = struct.unpack_from(f"<{parts}Q", rest)
    views: list[memoryview] = []
    start = _aligned(8 * parts)
    for length in lengths:
        views.append(rest[start : start + length])
        start += _aligned(length)
    if start != len(rest):
        raise FrameError("a frame was refused", f"its parts take {start} bytes of {len(rest)}")
    source = In(views[0], views[1:])
    try:
        message = MESSAGE.read(source)
        source.require_end()
    except UNREADABLE as error:
        raise FrameError("a frame was refused", f"it is no message: {type(error).__name__}: {error}") from None
    return message


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
