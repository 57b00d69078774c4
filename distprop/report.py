"""What training, describing and checking a job hand back: frozen values that a person or a program reads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distprop.events import Status


@dataclass(frozen=True)
class Start:
    """How one of several starts of a job ended."""

    start: int  # from 0
    seed: int
    status: Status
    steps: int
    metrics: Mapping[str, float]
    digest: str | None
    run_id: str | None
    why: str = ""  # it failed


@dataclass(frozen=True)
class Result:
    """How a training ended."""

    run_id: str | None  # the MLflow run, or our own id where tracking is off
    status: Status
    steps: int
    epochs: float
    metrics: Mapping[str, float]  # the last of each: "train/loss", "valid/accuracy", "test/accuracy", ...
    digest: str | None  # SHA-256 over the blocks' SHA-256s; None where there are no weights
    model_uri: str | None  # what `distprop predict` and `dp.load_model` take
    workers: int
    servers: int
    seconds: float
    rows_per_second: float
    tracking_uri: str | None = None
    address_source: str = ""  # what said where it runs: see training.placing.Placement
    checkpoint: str | None = None  # the newest whole one
    spooled: int = 0  # records that MLflow has not acknowledged: `distprop sync` sends them
    spool: str | None = None  # where they wait
    tracking_gap: str = ""  # why the run in MLflow is not whole; empty where it is
    time_shares: Mapping[str, float] = field(default_factory=dict)  # of the workers' time; with `profile` only
    layer_shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of the time that layers took in training, by layer: "forward" and "backward"; with `profile` only."""
    noise_scale: float | None = None  # of the gradient: batches of more rows than that hardly help
    warnings: Sequence[str] = ()  # about layers
    start: int | None = None  # the best of several: all figures but `seconds` are those of this one
    compared_by: str = ""  # the metric that said so
    starts: Sequence[Start] = ()  # that have ended

    def plain(self) -> dict[str, Any]:
        """The object that `--json` prints: what is not finite is null."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "steps": self.steps,
            "epochs": finite(self.epochs),
            "metrics": {name: finite(value) for name, value in self.metrics.items()},
            "digest": self.digest,
            "model_uri": self.model_uri,
            "workers": self.workers,
            "servers": self.servers,
            "seconds": finite(self.seconds),
            "rows_per_second": finite(self.rows_per_second),
            "start": self.start,
            "pending_records": self.spooled,
            "pending_reason": self.tracking_gap or ("records of a start wait" if self.spooled else None),
            "warnings": list(self.warnings),
        }


def finite(value: float) -> float | None:
    """Return the value, or None for NaN and the infinities, which JSON has no word for."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class RateTest:
    """How the loss went while the learning rate rose from step to step."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # smoothed, one for each rate
    suggestion: float | None  # where the loss fell fastest; None where it did not fall
    smallest: float | None  # where the loss was smallest
    broke_at: float | None  # where it broke; None where the test ended before


@dataclass(frozen=True)
class LayerRow:
    """One layer as `distprop show` prints it."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # of one row
    parameters: int
    flops_per_row: int  # forward and backward
    activation_bytes_per_row: int


@dataclass(frozen=True)
class ShardRow:
    """One shard of the training data."""

    shard: int
    rows: int
    steps: int  # in which it takes part, each epoch
    leaf_rows: int  # of its full leaf


@dataclass(frozen=True)
class Description:
    """What a job is, before anything runs."""

    name: str
    config: str  # resolved, as YAML
    recipe_hash: str
    input_shape: tuple[int, ...]  # of one row
    layers: tuple[LayerRow, ...]
    parameters: int
    flops_per_row: int  # forward and backward
    flops_per_step: int
    worker_bytes: int  # gradients along the tree, and activations
    server_bytes: int  # two versions of weights and optimizer state
    train_rows: int
    valid_rows: int
    test_rows: int
    shards: tuple[ShardRow, ...]
    steps_per_epoch: int
    last_version: int  # updates in the whole training, of each start
    workers: int
    servers: int
    starts: int = 1
    notes: tuple[str, ...] = ()  # such as the price of small leaves


@dataclass(frozen=True)
class CheckResult:
    """One thing that `distprop check` looked at. Fine but with a `fix`: a warning."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
