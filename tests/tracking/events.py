"""A small job's events, as training would send them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from distprop.events import (
    Checkpointed,
    DatasetUsed,
    EpochEnded,
    Evaluated,
    Event,
    HostSampled,
    ModelSaved,
    RunEnded,
    RunStarted,
    StepEnded,
    WorkerLost,
)

STEPS_PER_EPOCH = 4
NOON = 1_700_000_000.0

STARTED = RunStarted(
    time=NOON,
    name="small",
    params={"optimizer.sgd.learning_rate": "0.1", "data.features[0]": "a", "model": "x" * 7000},
    tags={"distprop.checkpoint": "/tmp/checkpoints", "distprop.run_key": "key-1"},
    config="name: small\n",
    datasets=(
        DatasetUsed("train", "small", "${DATA}/small.parquet", "a" * 40, 100, {"x": "double", "label": "long"}),
        DatasetUsed("valid", "small", "${DATA}/small.parquet", "b" * 32, 20, {"x": "double", "label": "long"}),
    ),
    version=0,
    last_version=8,
    steps_per_epoch=STEPS_PER_EPOCH,
    rows_per_epoch=100,
    parameters=42,
    workers=2,
    servers=1,
)


def step(version: int, **changes: Any) -> StepEnded:
    metrics = {"train/loss": 1 / version, "learning_rate": 0.1}
    told = StepEnded(NOON + version, version, (version - 1) // STEPS_PER_EPOCH, metrics, 25, 0.5, 0.1)
    return replace(told, **changes)


def evaluated(version: int, split: str = "valid") -> Evaluated:
    metrics = {f"{split}/loss": 2 / version, f"{split}/accuracy": 0.5 + version / 100}
    confusion = ((8.0, 2.0), (1.0, 9.0))
    at = NOON + version + 0.1
    return Evaluated(at, version, version / 4, split, metrics, True, False, confusion, ("ant", "bee"))  # type: ignore[arg-type]


def steps(first: int = 1, last: int = 8, later: float = 0.0) -> Iterator[Event]:
    """What happens between the start and the end; `later` moves the times, as a replay does."""
    for version in range(first, last + 1):
        told: list[Event] = [step(version)]
        if version % STEPS_PER_EPOCH == 0:
            epoch = version // STEPS_PER_EPOCH - 1
            told += [EpochEnded(NOON + version, version, epoch, 100, "c0ffee"), evaluated(version)]
        if version == 5:
            told += [Checkpointed(NOON + 5, 5, "/tmp/checkpoints/5"), WorkerLost(NOON + 5, 1, "h", "killed")]
            told.append(HostSampled(NOON + 5, "h", {"cpu_utilization_percentage": 12.5}))
        yield from (replace(event, time=event.time + later) for event in told)


def ending(folder: str | None = None, status: str = "finished") -> Iterator[Event]:
    """The end of a job; with a model where it has one."""
    yield evaluated(8, "test")
    if folder is not None:
        yield ModelSaved(NOON + 9, 8, folder, "d1935")
    metrics = {"valid/loss": 0.25, "test/accuracy": 0.58, "train/final": 0.125}
    yield RunEnded(NOON + 10, status, 8, metrics, "d1935", tags={"distprop.receipt_total": "ff"})  # type: ignore[arg-type]
