"""What happens in a job, as frozen events; listeners are functions of them and training knows none of them.

Every event carries `time`, seconds since the epoch, read once where the event was made: a metric point that is
sent twice has one timestamp. An event holds plain values and strings only, no arrays.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from distprop.errors import DistpropError

Status = Literal["finished", "failed", "interrupted"]
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Event:
    """Something that happened in a job at `time`."""

    time: float


@dataclass(frozen=True)
class DatasetUsed:
    """One split of the data, as it is recorded in the run."""

    split: Literal["train", "valid", "test"]
    name: str
    source: str  # the path as written in the config, `${VAR}` unexpanded
    digest: str  # at most 36 characters
    rows: int
    columns: Mapping[str, str]  # column -> type


@dataclass(frozen=True)
class RunStarted(Event):
    """Training begins, or goes on from a checkpoint."""

    name: str
    params: Mapping[str, str]  # the recipe, flat: "optimizer.adamw.learning_rate" -> "0.001"
    tags: Mapping[str, str]  # placement: workers, servers, addresses, fingerprint fields
    config: str  # the resolved job as YAML
    datasets: tuple[DatasetUsed, ...]
    version: int  # the version that training goes on from; 0 at the start
    last_version: int
    steps_per_epoch: int
    rows_per_epoch: int
    parameters: int
    workers: int
    servers: int


@dataclass(frozen=True)
class StepEnded(Event):
    """All slices of `version` are there: one synchronous update was applied."""

    version: int
    epoch: int  # the epoch that the step's rows belong to, from 0
    metrics: Metrics  # "train/loss", "train/accuracy", ..., "learning_rate", "gradient_norm"
    rows: int
    seconds: float  # wall time since the step before
    waiting_seconds: float  # the part of it that workers waited, mean over workers


@dataclass(frozen=True)
class EpochEnded(Event):
    """Every row of the training data was used once; `receipt` proves it."""

    version: int
    epoch: int
    rows: int
    receipt: str  # hexadecimal, equal to that of the data


@dataclass(frozen=True)
class BinaryCurves:
    """What two classes look like apart."""

    roc: tuple[tuple[float, float], ...]  # (1 - specificity, sensitivity) from (0, 0) to (1, 1)
    calibration: tuple[tuple[float, float, float], ...]  # (mean probability, share of positive rows, weight) by tenths
    point: tuple[float, float, float]  # threshold, sensitivity, specificity


@dataclass(frozen=True)
class Evaluated(Event):
    """The version was measured on held-out data; the verdict is in force."""

    version: int
    epoch: float  # epochs trained so far, may be a fraction
    split: Literal["valid", "test"]
    metrics: Metrics  # "valid/loss", "valid/accuracy", ...
    best: bool  # best so far by the metric that is kept or stopped by
    stop: bool
    confusion: tuple[tuple[float, ...], ...] | None = None  # [true][predicted] counts of rows; classification
    classes: tuple[str, ...] = ()
    scatter: tuple[tuple[float, ...], ...] | None = None  # [actual bin][predicted bin] counts; regression
    scatter_range: tuple[float, float] | None = None  # value range that the bins cut evenly
    curves: BinaryCurves | None = None  # two classes, where all rows were gathered


@dataclass(frozen=True)
class Diagnosed(Event):
    """What was seen in single layers, at the update that made `version` or at its evaluation; in the layers' order."""

    version: int
    figures: Metrics  # "gradient_norm/0.dense", "update_ratio/0.dense", "dead/1.relu", "saturated/4.tanh", ...
    noise: tuple[float, float] | None = None  # of this step: variance of rows' gradients, square of the true one


@dataclass(frozen=True)
class Warned(Event):
    """Something goes wrong in a layer, or in what the job stands on; said once for each layer and kind."""

    version: int
    kind: str  # "vanishing", "exploding", "dead", "saturated"; of the job "checkpoint", "classes", "huge_loss", ...
    layer: str  # "" where it is not about a layer
    what: str
    fix: str


@dataclass(frozen=True)
class WorkerJoined(Event):
    """A worker takes part from the next step boundary on."""

    worker: int
    host: str


@dataclass(frozen=True)
class WorkerLost(Event):
    """A worker is gone; its missing leaves go to the others."""

    worker: int
    host: str
    why: str


@dataclass(frozen=True)
class ServerLost(Event):
    """A server is gone; the job goes back to its last checkpoint."""

    why: str


@dataclass(frozen=True)
class Checkpointed(Event):
    """A checkpoint is whole on disk."""

    version: int
    path: str


@dataclass(frozen=True)
class CheckpointFailed(Event):
    """A checkpoint could not be written; the previous one is whole and training goes on."""

    version: int
    why: str


@dataclass(frozen=True)
class HostSampled(Event):
    """What a host's machine was doing."""

    host: str
    figures: Metrics  # "cpu_utilization_percentage", "system_memory_usage_megabytes", ...


@dataclass(frozen=True)
class ModelSaved(Event):
    """The trained model is a folder on the driver's disk, ready to be logged."""

    version: int
    path: str
    digest: str


@dataclass(frozen=True)
class ProfileTaken(Event):
    """Where the time went: a timeline of all processes."""

    trace: str  # a Chrome trace, as JSON
    shares: Mapping[str, float]  # of the workers' time, by what they did: "compute", "wait"


@dataclass(frozen=True)
class RunEnded(Event):
    """The last event of a training, always sent."""

    status: Status
    version: int
    metrics: Metrics
    digest: str | None
    why: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)  # receipts and the like, known only now


@dataclass(frozen=True)
class StartEnded(Event):
    """One of several starts of a job has ended; its own RunEnded came before."""

    start: int  # from 0
    starts: int
    seed: int
    status: Status
    version: int
    metrics: Metrics
    digest: str | None
    run_id: str | None
    compared_by: str  # the metric that chooses the best start
    why: str = ""  # it failed


Listener = Callable[[Event], None]


class Stop(DistpropError):  # noqa: N818 - a request, not an error
    """Raised by a listener to end training after the current step, as if interrupted: `raise dp.Stop` is enough."""

    def __init__(self, what: str = "a listener asked for the end", why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)


def fan_out(*listeners: Listener) -> Listener:
    """One listener that calls each of `listeners`.

    A listener that fails is logged once and dropped: a tracking server that is away must never end a training.
    `Stop` passes through, after the other listeners have seen the event.
    """
    alive = list(listeners)

    def listen(event: Event) -> None:
        stop: Stop | None = None
        for listener in tuple(alive):
            try:
                listener(event)
            except Stop as request:
                stop = request
            except Exception:  # whatever a listener raises must not end the training
                logging.getLogger("distprop").exception("a listener failed and hears no more events")
                alive.remove(listener)
        if stop is not None:
            raise stop

    return listen
