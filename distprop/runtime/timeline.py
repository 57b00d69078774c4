"""Where the time of a step goes: spans of every process on one clock, as a Chrome trace.

Open the file at chrome://tracing or ui.perfetto.dev. Processes of one machine share a clock; those of several are as
far apart as the machines' clocks.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from distprop.protocol import effects, messages
from distprop.protocol.messages import Address

NAMES: Mapping[type, str] = {
    effects.Compute: "compute",
    effects.Reduce: "reduce",
    effects.Update: "update",
    effects.Tally: "reduce",
    effects.Place: "place",
    effects.Save: "save",
    effects.Load: "load",
    messages.Push: "send",
    messages.Publish: "publish",
}
"""What an effect, or the packing of a message, is called in a trace."""


class Span(NamedTuple):
    """Something that took from `start` to `stop`, in seconds since the epoch."""

    name: str
    start: float
    stop: float


@dataclass(frozen=True)
class Spans:
    """What a process did lately, told beside the protocol."""

    who: Address
    spans: tuple[Span, ...]


@dataclass
class Recorder:
    """Notes spans; off, it costs next to nothing."""

    on: bool = False
    spans: list[Span] = field(default_factory=list)

    def note(self, name: str, start: float) -> None:
        """Note what has taken from `start` to now."""
        self.spans.append(Span(name, start, time.time()))

    @contextmanager
    def span(self, what: type) -> Iterator[None]:
        """Note an effect or a message by its type; types without a name are not noted."""
        name = NAMES.get(what) if self.on else None
        start = time.time() if name else 0.0
        yield
        if name:
            self.note(name, start)

    def take(self) -> tuple[Span, ...]:
        """What was noted since this was last asked."""
        taken, self.spans = tuple(self.spans), []
        return taken


@dataclass
class Timeline:
    """The spans of all processes of a job."""

    spans: dict[Address, list[Span]] = field(default_factory=lambda: defaultdict(list))

    def add(self, told: Spans) -> None:
        """Take what a process told."""
        self.spans[told.who].extend(told.spans)

    def shares(self) -> dict[str, float]:
        """The share of the workers' time by name; what no span covers is left out."""
        seconds: dict[str, float] = defaultdict(float)
        for who, spans in self.spans.items():
            if who.role == "worker":
                for span in spans:
                    seconds[span.name] += span.stop - span.start
        total = sum(seconds.values())
        return {name: spent / total for name, spent in sorted(seconds.items())} if total else {}

    def chrome(self) -> str:
        """The trace as JSON, in microseconds since its first span."""
        begin = min((span.start for spans in self.spans.values() for span in spans), default=0.0)
        rows = [
            row for number, who in enumerate(sorted(self.spans)) for row in _rows(number, who, self.spans[who], begin)
        ]
        return json.dumps({"traceEvents": rows, "displayTimeUnit": "ms"})


def _rows(number: int, who: Address, spans: Iterable[Span], begin: float) -> Iterator[dict[str, object]]:
    yield {"ph": "M", "name": "process_name", "pid": number, "args": {"name": f"{who.role} {who.number}"}}
    for span in spans:
        start, length = (span.start - begin) * 1e6, (span.stop - span.start) * 1e6
        yield {"ph": "X", "name": span.name, "pid": number, "tid": 0, "ts": round(start, 1), "dur": round(length, 1)}
