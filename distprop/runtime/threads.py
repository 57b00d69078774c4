"""Work on the runs of a slice, spread over threads. NumPy lets go of the interpreter while it computes."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST = 8
"""Threads of a server at most: beyond that, memory is what an update waits for."""


class Threads:
    """A pool for `map`; the caller's own thread works too, so that little work costs no hand-over."""

    def __init__(self, count: int) -> None:
        self._others = ThreadPoolExecutor(count - 1, thread_name_prefix="update") if count > 1 else None
        self._count = count

    def map(self, work: Callable[[Item], Answer], items: Sequence[Item], least: int) -> list[Answer]:
        """`work` of each item, in order; at least `least` items a thread."""
        shares = min(self._count, len(items) // least)
        if shares <= 1 or self._others is None:
            return [work(item) for item in items]
        cuts = [len(items) * share // shares for share in range(shares + 1)]
        others = [self._others.submit(_each, work, items[cuts[share] : cuts[share + 1]]) for share in range(1, shares)]
        mine = _each(work, items[: cuts[1]])
        return mine + [answer for other in others for answer in other.result()]


def _each(work: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    return [work(item) for item in items]


def cores_to_spare(servers_here: int = 1) -> int:
    """Threads for a server that shares its machine with `servers_here` - 1 others."""
    return max(1, min(MOST, len(os.sched_getaffinity(0)) // servers_here))
