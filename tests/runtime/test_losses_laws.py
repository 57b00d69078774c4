"""The law of bits for every loss, with every metric that fits it: one table, one test."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.nn.losses import LOSS_KINDS
from distprop.nn.metrics import METRICS
from tests.runtime.small import Fate, run, small_job, table, written

CASES: dict[str, tuple[Any, int]] = {  # loss -> its settings, outputs of the model
    "softmax_cross_entropy": ({"label_smoothing": 0.1, "class_weights": "balanced"}, 3),
    "binary_cross_entropy": ({"label_smoothing": 0.1, "class_weights": {1: 2.5}}, 1),
    "mean_squared_error": (None, 1),
    "mean_absolute_error": (None, 1),
    "huber": (0.3, 1),
    "pinball": ([0.1, 0.5, 0.9], 3),
    "poisson": (None, 1),
    "gaussian": (None, 2),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Rows with a label of three classes, of two, and with counts; all of them weighted."""
    made, here = table(90), tmp_path_factory.mktemp("losses")
    labels = {"three": made["label"], "two": made["label"] % 2, "counts": made["label"].astype(np.float64)}
    weight = np.random.default_rng(1).uniform(0.3, 2.0, 90)
    return {name: written(here, {"x": made["x"], "label": of, "weight": weight}, name) for name, of in labels.items()}


def test_every_loss_has_a_case() -> None:
    assert CASES.keys() == LOSS_KINDS.keys(), "a new loss needs a line in CASES"


@pytest.mark.parametrize("name", CASES)
def test_workers_hosts_and_losses_change_no_bit(name: str, files: dict[str, str], tmp_path: Path) -> None:
    settings, outputs = CASES[name]
    task = {"softmax_cross_entropy": "classification", "binary_cross_entropy": "binary"}.get(name, "regression")
    rows = files[{"classification": "three", "binary": "two"}.get(task, "counts")]
    job = small_job(
        rows,
        tmp_path / "one",
        data__weight="weight",
        model=[{"dense": 4}, "tanh", {"dense": outputs}, *(["softplus"] if name == "poisson" else [])],
        loss={name: settings},
        metrics=[metric.name for metric in METRICS.values() if task in metric.tasks],
        train={"epochs": 1},
    )
    alone = run(job)
    several = run({**job, "checkpoint": {**job["checkpoint"], "dir": str(tmp_path / "three")}}, 2, (0, 1, 1), Fate(3))
    assert several.numbers == alone.numbers
    assert all(np.isfinite(value) for value in alone.result.metrics.values())
