"""The two messages of every step in few bytes: pickling them would cost more than all else that is done with them."""

import marshal
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from distprop.protocol.course import Round
from distprop.protocol.messages import Begin, Contribute
from distprop.protocol.tree import Node
from distprop.runtime.memory import Slot

Flat = tuple[int, ...]


def write(message: Any) -> bytes | None:
    """The bytes of a message that can be said tersely; None of any other."""
    if type(message) is Begin:
        return marshal.dumps((message.attempt, *message.round))
    if type(message) is Contribute and (parts := _flatten(message.parts)) is not None:
        return marshal.dumps((message.attempt, *message.round, message.worker, parts))
    return None


def read(content: bytes | memoryview) -> Begin | Contribute:
    """The message of such bytes. Raises ValueError, EOFError or TypeError where they are none."""
    said = marshal.loads(content)  # noqa: S302 - the peer has proved that it knows the secret
    if len(said) == 3:
        return Begin(said[0], Round(said[1], said[2]))
    attempt, version, kind, worker, parts = said
    return Contribute(attempt, Round(version, kind), worker, _unflatten(parts))


@lru_cache(64)
def _flatten(parts: Sequence[tuple[Node, Any]]) -> tuple[Flat, ...] | None:
    if not all(type(handle) is Slot for _, handle in parts):
        return None
    return tuple((*node, handle.worker, handle.slot) for node, handle in parts)


@lru_cache(64)
def _unflatten(flat: tuple[Flat, ...]) -> tuple[tuple[Node, Slot], ...]:
    return tuple((Node(level, place), Slot(worker, slot)) for level, place, worker, slot in flat)
