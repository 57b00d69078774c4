"""Where the time of a step goes: spans of every process on one clock, as a Chrome trace.

Open the file at chrome://tracing or ui.perfetto.dev. Processes of one machine share a clock; those of several are as
far apart as the machines' clocks.
"""

import json
import math
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


LayerTimes = dict[str, dict[str, float]]
"""Seconds, or shares, by layer and by way: forward, backward."""
MOST_LAYER_SPANS = 20_000
"""Of one process, in a trace: a long job would have millions. All of them count in the sums."""


@dataclass(frozen=True)
class Spans:
    """What a process did lately, told beside the protocol. layers: spans inside of others."""

    who: Address
    spans: tuple[Span, ...]
    layers: tuple[Span, ...] = ()
    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # of layers: see LayerTimes


@dataclass
class LayerClock:
    """A distprop.nn.timing.Clock: adds up the seconds of layers, and keeps the first spans."""

    spans: list[Span] = field(default_factory=list)
    seconds: LayerTimes = field(default_factory=dict)
    _left: int = MOST_LAYER_SPANS

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def note(self, layer: str, way: str, since: float) -> None:
        """Note that a layer has worked since then."""
        now = time.time()
        ways = self.seconds.setdefault(layer, {})
        ways[way] = ways.get(way, 0.0) + now - since
        if self._left:
            self._left -= 1
            self.spans.append(Span(f"{layer} {way}", since, now))

    def take(self) -> tuple[tuple[Span, ...], LayerTimes]:
        """Spans and seconds since this was last asked."""
        spans, seconds = tuple(self.spans), self.seconds
        self.spans, self.seconds = [], {}
        return spans, seconds


@dataclass
class Recorder:
    """Notes spans; off, it costs next to nothing."""

    on: bool = False
    spans: list[Span] = field(default_factory=list)
    layers: LayerClock = field(default_factory=LayerClock)

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

    def take(self, who: Address) -> Spans:
        """What was noted since this was last asked."""
        taken, self.spans = tuple(self.spans), []
        return Spans(who, taken, *self.layers.take())


@dataclass
class Timeline:
    """The spans of all processes of a job."""

    spans: dict[Address, list[Span]] = field(default_factory=lambda: defaultdict(list))
    layers: dict[Address, list[Span]] = field(default_factory=lambda: defaultdict(list))
    seconds: LayerTimes = field(default_factory=dict)  # of layers, all workers together

    def add(self, told: Spans) -> None:
        """Take what a process told."""
        self.spans[told.who].extend(told.spans)
        self.layers[told.who].extend(told.layers)
        for layer, ways in told.seconds.items():
            mine = self.seconds.setdefault(layer, {})
            for way, seconds in ways.items():
                mine[way] = mine.get(way, 0.0) + seconds

    def shares(self) -> dict[str, float]:
        """The share of the workers' time by name; what no span covers is left out."""
        seconds: dict[str, float] = defaultdict(float)
        for who, spans in self.spans.items():
            if who.role == "worker":
                for span in spans:
                    seconds[span.name] += span.stop - span.start
        total = sum(seconds.values())
        return {name: spent / total for name, spent in sorted(seconds.items())} if total else {}

    def layer_shares(self) -> LayerTimes:
        """Of the time that all layers took in training, each layer's share on either way, in the layers' order."""
        total = math.fsum(seconds for ways in self.seconds.values() for seconds in ways.values())
        return {
            layer: {way: seconds / total for way, seconds in self.seconds[layer].items()}
            for layer in sorted(self.seconds, key=lambda name: int(name.partition(".")[0]))
        }

    def chrome(self) -> str:
        """The trace as JSON, in microseconds since its first span."""
        begin = min((span.start for spans in self.spans.values() for span in spans), default=0.0)
        rows = [
            row
            for number, who in enumerate(sorted(self.spans))
            for row in _rows(number, who, (*self.spans[who], *self.layers[who]), begin)
        ]
        return json.dumps({"traceEvents": rows, "displayTimeUnit": "ms"})


def _rows(number: int, who: Address, spans: Iterable[Span], begin: float) -> Iterator[dict[str, object]]:
    yield {"ph": "M", "name": "process_name", "pid": number, "args": {"name": f"{who.role} {who.number}"}}
    for span in spans:
        start, length = (span.start - begin) * 1e6, (span.stop - span.start) * 1e6
        yield {"ph": "X", "name": span.name, "pid": number, "tid": 0, "ts": round(start, 1), "dur": round(length, 1)}
