"""Step metrics as points of bounded number: a long job's curves are means over windows of steps.

A SQLite store takes about 7,000 points a second of one core. A job of at most CURVE_POINTS steps has every step kept; a
longer one has each curve cut into windows of equal length, a point being the mean over its window. The windows depend
on the job's number of steps alone, so two runs of one job have the same points, whatever their speed.
How long steps took is not part of a job's numbers; it is kept once a second.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from distprop.events import StepEnded
from distprop.tracking.naming import legal_name
from distprop.tracking.spool import Record

CURVE_POINTS = 10_000
TIMING_SECONDS = 1.0


def points(step: int, time: float, metrics: dict[str, float], once: str | None = None) -> Record:
    """A record of metric points at `step`; where the run already has `once` at this step or later, it is left out."""
    named = {legal_name(name): float(value) for name, value in metrics.items()}
    return {"kind": "points", "step": step, "time": round(time * 1000), "metrics": named, "once": once}


def window(last_version: int) -> int:
    """Steps a point, for a job that ends with `last_version`."""
    return max(1, math.ceil(last_version / CURVE_POINTS))


@dataclass
class Curves:
    """Gathers steps and gives a record whenever a window is full."""

    every: int
    _sums: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _last: StepEnded | None = None

    def add(self, event: StepEnded) -> list[Record]:
        """The point of the window that this step fills, if it does."""
        self._last = event
        for name, value in event.metrics.items():
            self._sums[name].append(value)
        return self.flush() if event.version % self.every == 0 else []

    def flush(self) -> list[Record]:
        """The point of the window so far."""
        last, self._last = self._last, None
        if last is None or not self._sums:
            return []
        means = {name: _mean(values) for name, values in self._sums.items()}
        self._sums.clear()
        return [points(last.version, last.time, means, once=legal_name(next(iter(means))))]


@dataclass
class Timings:
    """Gathers how fast steps are and gives a record about once a second."""

    _rows: int = 0
    _steps: int = 0
    _seconds: float = 0.0
    _waiting: float = 0.0
    _last: StepEnded | None = None

    def add(self, event: StepEnded) -> list[Record]:
        """A point when a second has passed since the one before."""
        self._last = event
        self._rows += event.rows
        self._steps += 1
        self._seconds += event.seconds
        self._waiting += event.waiting_seconds
        return self.flush() if self._seconds >= TIMING_SECONDS else []

    def flush(self) -> list[Record]:
        """A point of what was gathered so far."""
        last = self._last
        if last is None or self._seconds <= 0:
            return []
        means = {
            "step_seconds": self._seconds / self._steps,
            "waiting_seconds": self._waiting / self._steps,
            "rows_per_second": self._rows / self._seconds,
        }
        self._rows, self._steps, self._seconds, self._waiting, self._last = 0, 0, 0.0, 0.0, None
        return [points(last.version, last.time, means, once="step_seconds")]


def _mean(values: list[float]) -> float:
    """The mean; NaN and infinities show instead of raising."""
    if not all(map(math.isfinite, values)):
        return next(value for value in values if not math.isfinite(value))
    return math.fsum(values) / len(values)
