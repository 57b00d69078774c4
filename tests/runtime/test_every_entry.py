"""The law of bits for every entry of the registries: layers, losses, metrics, optimizers and what is beside them."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from distprop import events
from distprop.checkpoint import open_checkpoint
from distprop.config import load_job
from distprop.data.augmenting import AUGMENTS
from distprop.data.transforms import TRANSFORMS
from distprop.nn.init import INITIALIZERS, WITH_SETTINGS
from distprop.nn.layers import LAYERS
from distprop.nn.losses import LOSS_KINDS
from distprop.nn.metrics import METRICS
from distprop.optim.optimizers import OPTIMIZERS
from distprop.optim.schedules import SCHEDULES
from distprop.runtime import blueprint
from distprop.training.assembling import assemble
from tests.runtime.entries import BY_NAME, entry_job, used, write_table
from tests.runtime.small import Fate, Ran, run, stop_at

JOBS = {name: entry_job(name, "rows", Path("room")) for name in BY_NAME}
each = pytest.mark.parametrize("name", BY_NAME)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_table(tmp_path_factory.mktemp("rows"))


@cache
def alone(name: str, rows: str, room: Path) -> Ran:
    """One worker, one server, every message once and in order."""
    return run(entry_job(name, rows, room / "alone"))


def test_the_jobs_use_every_entry_of_every_registry() -> None:
    assert used(JOBS.values()) == {
        "layers": LAYERS.keys(),
        "initializers": {*INITIALIZERS, *WITH_SETTINGS},
        "losses": LOSS_KINDS.keys(),
        "metrics": METRICS.keys(),
        "optimizers": OPTIMIZERS.keys(),
        "schedules": SCHEDULES.keys(),
        "augmentations": AUGMENTS.keys(),
        "transforms": TRANSFORMS.keys(),
    }, "a new entry needs a place in one of the jobs of entries.py"


@each
def test_every_parameter_learns_and_all_that_is_measured_is_finite(name: str, rows: str, room: Path) -> None:
    """What stayed as it began would keep its bits whatever went wrong."""
    ran, network = alone(name, rows, room), assemble(load_job(entry_job(name, rows, room))).blueprint.network
    begun = np.empty(network.arena.size, np.float32)
    network.init(JOBS[name]["seed"], begun)
    assert ran.result.checkpoint is not None
    ended = network.arena.views(open_checkpoint(ran.result.checkpoint).weights())
    assert [view for view, first in network.arena.views(begun).items() if np.array_equal(first, ended[view])] == []
    assert all(np.isfinite(value) for value in ran.result.metrics.values())
    assert len(ran.of(events.StepEnded)) == 8


@each
@pytest.mark.parametrize("pieces", [1, 4], ids=["whole", "in slices"])
def test_workers_hosts_losses_and_a_crash_change_no_bit(
    name: str, pieces: int, rows: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slices: as if the network were so large that every host owns several, which travel before it is done."""
    job, fate = entry_job(name, rows, room / "several"), Fate(pieces, kills=1, often=0.1)
    made = assemble(load_job(job)).blueprint
    monkeypatch.setattr(blueprint, "PIECE", made.parameters // (2 * pieces))
    assert made.pieces(2) == pieces
    ran = run(job, 2, (0, 1, 1), fate)
    assert [lost.worker for lost in ran.of(events.WorkerLost)] == fate.killed and len(fate.killed) == 1
    assert ran.numbers == alone(name, rows, room).numbers


@each
def test_stopped_and_resumed_on_other_hosts_the_bits_are_the_same(name: str, rows: str, room: Path) -> None:
    job, whole = entry_job(name, rows, room / "parts"), alone(name, rows, room)
    first = run(job, 2, (0, 1, 1), listeners=[stop_at(3)])
    assert first.result.status == "interrupted" and 3 <= first.result.steps < 8
    rest = run(job, 3, (2, 0, 1, 1), Fate(2), checkpoint=first.result.checkpoint)
    assert rest.result.digest == whole.result.digest and rest.result.metrics == whole.result.metrics
    for part in range(2, 5):  # steps, verdicts, receipts of epochs
        assert [*first.numbers[part], *rest.numbers[part]] == whole.numbers[part]
