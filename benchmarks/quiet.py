"""A quiet machine to measure on: Ray goes on starting processes for seconds after the first actors are up."""

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.part import Say

STAT = Path("/proc/stat")
SPAN = 0.5  # seconds that are looked at
QUIET = 0.2  # share of all cores' time that others may use
PATIENCE = 60  # spans

Ticks = tuple[int, int]


def cpu_ticks() -> Ticks:
    """Clock ticks that all cores have worked, and rested, since the machine started; (0, 0) where it does not tell."""
    if not STAT.exists():
        return 0, 0
    user, nice, system, idle, waiting, *_ = map(int, STAT.read_text().split("\n", 1)[0].split()[1:])
    return user + nice + system, idle + waiting


def settle(say: Say, ticks: Callable[[], Ticks] = cpu_ticks, sleep: Callable[[float], None] = time.sleep) -> None:
    """Return when hardly anything has run for a while; after PATIENCE, say that the machine is busy."""
    before = ticks()
    for _ in range(PATIENCE):
        sleep(SPAN)
        now = ticks()
        worked, rested = (after - start for after, start in zip(now, before, strict=True))
        if worked <= QUIET * (worked + rested):
            return
        before = now
    say("the machine is busy with something else: figures will be higher than they could be")
