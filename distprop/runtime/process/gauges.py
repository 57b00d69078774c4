"""What a process says of itself beside the protocol: figures for people, never for the numbers."""

from dataclasses import dataclass

from distprop.events import Metrics


@dataclass(frozen=True)
class Gauge:
    """A worker's time since it last said so, in seconds: all of it, and the part that it waited."""

    worker: int
    seconds: float
    waited: float


@dataclass(frozen=True)
class Alive:
    """A server runs, whether or not there is anything to do: the share of their time that its workers wait."""

    waiting: float


@dataclass(frozen=True)
class Sample:
    """What a host does."""

    host: str
    figures: Metrics
