"""The two messages of every step in few bytes: pickling them would cost more than all else that is done with them.

Begin: attempt, version, kind (i64 each).
Contribute: attempt, version, kind, worker (i64 each); then of each part level, place, worker, slot (u32 each).
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from distprop.protocol.course import Round
from distprop.protocol.messages import Begin, Contribute
from distprop.protocol.tree import Node
from distprop.runtime.memory import Slot

BEGIN, CONTRIBUTE, PART = struct.Struct("<3q"), struct.Struct("<4q"), struct.Struct("<4I")
VERSION_AT = 8
"""Bytes before the version in both."""


def write(message: Any) -> bytes | None:
    """The bytes of a message that can be said tersely; None of any other."""
    if type(message) is Begin:
        return BEGIN.pack(message.attempt, *message.round)
    if type(message) is Contribute and (parts := _pack(message.parts)) is not None:
        return CONTRIBUTE.pack(message.attempt, *message.round, message.worker) + parts
    return None


def read(content: bytes | memoryview) -> Begin | Contribute:
    """The message of such bytes. Raises ValueError where they are none."""
    if len(content) == BEGIN.size:
        attempt, version, kind = BEGIN.unpack(content)
        return Begin(attempt, Round(version, kind))
    if len(content) < CONTRIBUTE.size or (len(content) - CONTRIBUTE.size) % PART.size:
        raise ValueError(f"{len(content)} bytes are no message")
    attempt, version, kind, worker = CONTRIBUTE.unpack_from(content)
    return Contribute(attempt, Round(version, kind), worker, _unpack(bytes(content[CONTRIBUTE.size :])))


@lru_cache(64)
def _pack(parts: Sequence[tuple[Node, Any]]) -> bytes | None:
    if not all(type(handle) is Slot for _, handle in parts):
        return None
    return b"".join(PART.pack(*node, handle.worker, handle.slot) for node, handle in parts)


@lru_cache(64)
def _unpack(parts: bytes) -> tuple[tuple[Node, Slot], ...]:
    found = PART.iter_unpack(parts)
    return tuple((Node(level, place), Slot(worker, slot)) for level, place, worker, slot in found)
