"""What a cluster is to compute in a benchmark, and the blueprint that says it to its processes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.cases import LEARNING_RATE, SEED
from benchmarks.resident import Resident, ResidentTargets
from distprop.runtime.blueprint import Blueprint

LAST = 10**6
"""Updates in the whole job, as schedules see it; blocks are shorter."""


class Job(NamedTuple):
    """What a cluster is to compute."""

    layers: tuple[Any, ...]
    input_shape: tuple[int, ...]
    classes: int
    rows: int  # a step, over all workers
    shards: int
    optimizer: str = "adam"
    settings: Mapping[str, Any] = {"learning_rate": LEARNING_RATE}
    clip_norm: float | None = None

    def blueprint(self, kind: type[Blueprint] = Blueprint, **more: Any) -> Blueprint:
        """The job as its processes need it; `more`: what a blueprint of this kind has beside."""
        dataset: Any = Resident(self.input_shape, ResidentTargets(self.classes), self.rows, self.shards)
        return kind(
            layers=self.layers,
            loss_spec="softmax_cross_entropy",
            metric_names=(),
            optimizer_name=self.optimizer,
            optimizer_settings=self.settings,
            optimizer_extras={"clip_norm": self.clip_norm},
            seed=SEED,
            last=LAST,
            dataset=dataset,
            **more,
        )
