"""A small job of real arithmetic, and ways to run it inline: on any hosts, in any order, with any losses."""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from distprop import events
from distprop.config import load_job
from distprop.data.memory import from_memory
from distprop.report import Result
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.inline import InlineCluster
from distprop.training import clusters, running
from distprop.training.request import Request
from tests.protocol.toy import Chance

ROWS, WIDTH, CLASSES = 211, 6, 3  # no shard and no batch divides them evenly
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"sgd": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
    "adam": {"adam": {"learning_rate": {"warmup_cosine": {"peak": 0.01, "warmup_steps": 3}}}},
    "adamw": {"adamw": {"learning_rate": 0.01}},
    "lars": {"lars": {"learning_rate": 20.0}, "decay_exclude": ["*.b"], "clip_value": 0.02},
    "lamb": {"lamb": {"learning_rate": 0.05}, "decay_exclude": ["*.b"], "clip_norm": None},
    "groups": {"adamw": {}, "decay_exclude": ["*.b"], "rates": {"0.*": 0.1, "3.dense.b": 0}, "clip_norm": None},
    "accumulated": {"adam": {"learning_rate": 0.01}, "accumulate": 3, "average": 0.6},
    "averaged": {"adam": {"learning_rate": 0.03}, "average": 0.8, "clip_norm": None},
    "plateau": {"sgd": {"learning_rate": {"reduce_on_plateau": {"start": 0.1, "patience": 1, "min_delta": 9}}}},
}
NORMALIZED: list[Any] = [
    "batch_norm",
    {"dense": 9},
    "batch_norm",
    "relu",
    {"residual": [{"dense": 9}, "batch_norm", "tanh"]},
    {"dropout": 0.2},
    {"dense": CLASSES},
]


def table(rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows whose class can be learned from their features."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(rows, WIDTH)).astype(np.float32)
    label = np.argmax(x[:, :CLASSES] + 0.3 * chance.normal(size=(rows, CLASSES)), axis=1)
    return {"x": x, "label": label.astype(np.int64)}


def written(folder: Path, rows: Mapping[str, np.ndarray] | None = None, name: str = "train") -> str:
    """A Parquet file of these rows, or of `table()`."""
    return from_memory(rows if rows is not None else table(), folder, "label", name)


def small_job(train: str, folder: Path, /, **changes: Any) -> dict[str, Any]:
    """The job as a mapping; changes are dotted keys with __ for the dot."""
    job: dict[str, Any] = {
        "name": "small",
        "seed": 3,
        "data": {
            "train": train,
            "valid": {"fraction": 0.2},
            "features": {"x": "standardize"},
            "target": "label",
            "shards": 5,
            "batch_size": 37,
            "shuffle_rows": 16,
        },
        "model": [{"dense": 9}, "relu", {"dropout": 0.2}, {"dense": CLASSES}],
        "loss": "softmax_cross_entropy",
        "metrics": ["accuracy"],
        "optimizer": {**OPTIMIZERS["adamw"], "clip_norm": 0.5},
        "train": {"epochs": 2, "evaluate_every": "4 steps"},
        "checkpoint": {"every": "3 steps", "dir": str(folder)},
        "tracking": {"enabled": False},
    }
    for key, value in changes.items():
        section, _, rest = key.partition("__")
        if rest:
            job[section] = {**job[section], rest: value}
        else:
            job[section] = value
    return job


@dataclass
class Fate(Chance):
    """Any order, messages twice or never; and `kills` workers that end at drawn moments."""

    seed: int
    kills: int = 0
    often: float = 0.05
    cluster: InlineCluster | None = None
    killed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.seed)

    def pick(self, waiting: int) -> int:
        if self.cluster is not None and len(self.killed) < self.kills and self.random.random() < self.often:
            roles = self.cluster._scheduler.roles
            if alive := [role.number for role in roles if role.role == "worker"]:
                self.killed.append(self.random.choice(alive))
                self.cluster.kill_worker(self.killed[-1])
        return self.random.randrange(waiting)


@dataclass(frozen=True)
class Ran:
    """A result, and all that was told on the way."""

    result: Result
    told: Sequence[events.Event]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def numbers(self) -> tuple[Any, ...]:
        """What must not depend on who, where and when."""
        steps = [(event.version, event.epoch, dict(event.metrics), event.rows) for event in self.of(events.StepEnded)]
        judged = [
            (event.version, event.split, dict(event.metrics), event.best, event.stop, event.confusion)
            for event in self.of(events.Evaluated)
        ]
        epochs = [(event.version, event.rows, event.receipt) for event in self.of(events.EpochEnded)]
        return self.result.digest, dict(self.result.metrics), steps, judged, epochs


@contextlib.contextmanager
def hosts(servers: int, homes: Sequence[int], fate: Fate | None) -> Iterator[None]:
    """Clusters that are opened have these hosts and this fate."""

    def opened(blueprint: Blueprint, folder: str, *_: Any, profile: bool) -> InlineCluster:
        cluster = InlineCluster(blueprint, folder, servers, homes, fate, profile)
        if fate is not None:
            fate.cluster = cluster
        return cluster

    with mock.patch.object(clusters, "InlineCluster", opened):
        yield


def run(
    job: Mapping[str, Any],
    servers: int = 1,
    homes: Sequence[int] = (0,),
    fate: Fate | None = None,
    listeners: Sequence[events.Listener] = (),
    **request: Any,
) -> Ran:
    """Train here and now."""
    told: list[events.Event] = []
    asked = Request(load_job(job), workers=len(homes), servers=servers, inline=True, **request)
    with hosts(servers, homes, fate):
        return Ran(running.run(asked, [told.append, *listeners]), told)


def stop_at(version: int) -> events.Listener:
    """A listener that has enough once `version` is there."""

    def listen(event: events.Event) -> None:
        if isinstance(event, events.StepEnded) and event.version >= version:
            raise events.Stop("enough")

    return listen


def chance_of(seed: int, servers: int, most: int = 5) -> list[int]:
    """Homes of some workers, drawn."""
    draw = random.Random(seed)
    return [draw.randrange(servers) for _ in range(draw.randint(1, most))]
