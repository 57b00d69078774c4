"""What a job is, before it runs; the numbers are those of the real thing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.config import load_job
from distprop.training.assembling import assemble
from distprop.training.describing import describe
from distprop.training.memory_need import server_bytes, worker_bytes
from tests.runtime.small import NORMALIZED, run, small_job


def test_a_description_is_what_training_then_does(rows: str, here: Path) -> None:
    job = small_job(rows, here)
    described, ran = describe(job), run(job)
    (started,) = [event for event in ran.told if type(event).__name__ == "RunStarted"]
    assert (described.parameters, described.last_version) == (started.parameters, ran.result.steps)
    assert (described.steps_per_epoch, described.train_rows) == (started.steps_per_epoch, started.rows_per_epoch)
    assert described.recipe_hash == load_job(job).recipe_hash()
    assert sum(layer.parameters for layer in described.layers) == described.parameters == 9 * 7 + 3 * 10
    assert [shard.rows for shard in described.shards] == sorted(shard.rows for shard in described.shards)
    assert sum(shard.rows for shard in described.shards) == described.train_rows


def test_overrides_are_in_the_description(rows: str, here: Path) -> None:
    assert describe(small_job(rows, here), {"train.epochs": 7}).last_version == 35


@pytest.mark.parametrize(
    ("width", "micro_batch", "recompute"),
    [(64, None, False), (512, None, False), (512, 30, False), (256, None, True), (256, 30, True)],
)
def test_a_workers_memory_is_about_what_a_leaf_takes(
    rows: str, here: Path, width: int, micro_batch: int | None, recompute: bool
) -> None:
    inner = [{"dense": width}, "gelu", {"dense": width}, "relu", {"dropout": 0.1}]
    model = [{"repeat": {"times": 6 if recompute else 1, "layers": inner, "recompute": recompute}}, {"dense": 3}]
    job = small_job(rows, here, model=model, data__batch_size=160, data__shards=1, data__micro_batch_size=micro_batch)
    assembly = assemble(load_job(job))
    computer, blueprint = assembly.blueprint.computer(), assembly.blueprint
    weights, out = np.empty((2, blueprint.parameters), np.float32)
    blueprint.network.init(1, weights)
    batch = assembly.dataset.reader("train", 0).batch(0, 0)
    computer.gradient(weights, batch.x, batch.y, None, 0, 0, out)
    assert 0.5 < (worker_bytes(assembly) - out.nbytes) / computer.workspace.nbytes < 2.0


@pytest.mark.parametrize(("servers", "vectors"), [(1, 2 + 5), (2, 2 + 5 / 2), (4, 2 + 5 / 4)])
def test_a_server_keeps_two_weights_and_the_state_of_its_slice(
    rows: str, here: Path, servers: int, vectors: float
) -> None:
    job = small_job(rows, here, model=[{"dense": 30_000}, {"dense": 3}])
    blueprint = assemble(load_job(job)).blueprint  # adamw: 2 vectors of state in 2 versions, and a gradient
    block = max(one.stop - one.start for one in blueprint.network.arena.blocks)
    assert abs(server_bytes(blueprint, servers) - 4 * vectors * blueprint.parameters) < 4 * 5 * 2 * block


def test_small_leaves_idle_workers_and_columns_left_out_are_noted(rows: str, here: Path) -> None:
    notes = describe(small_job(rows, here), ["cluster.workers=7"]).notes
    assert any("leaves have 7 rows" in note for note in notes)
    assert any("2 of them will have nothing to do" in note for note in notes)
    assert not any("batch_norm" in note for note in notes)
    normalized = describe(small_job(rows, here, model=NORMALIZED)).notes
    assert any("`batch_norm` normalizes each leaf by its own 7 rows" in note for note in normalized)
    cut = describe(small_job(rows, here, model=NORMALIZED, data__batch_size=160, data__micro_batch_size=8)).notes
    assert any("micro-batches have 8 rows: a row costs about 3.5 times" in note for note in cut)
    assert any("`batch_norm` normalizes each micro-batch by its own 8 rows" in note for note in cut)
    idle = describe(small_job(rows, here, data__micro_batch_size=8)).notes
    assert "no leaf has more than 8 rows: `data.micro_batch_size: 8` divides none" in idle
    quiet = {"data.batch_size": 160, "data.shards": 2, "cluster.workers": 2}
    assert describe(small_job(rows, here), quiet).notes == ()


def test_a_table_with_far_more_rows_than_a_step_touches_is_noted(rows: str, here: Path) -> None:
    def made(sparse: bool) -> dict[str, Any]:
        model = [{"embedding": {"rows": 50_000, "width": 2, "sparse": sparse}}, "flatten", {"dense": 3}]
        return small_job(rows, here, model=model)

    dense, sparse = describe(made(False)), describe(made(True))
    assert "0.embedding has 50,000 rows, of which a step touches 222" in "".join(dense.notes)
    assert not any("0.embedding" in note for note in sparse.notes)
    assert sparse.worker_bytes < dense.worker_bytes / 10
    assert dense.server_bytes - sparse.server_bytes == 4 * 100_000, "no reduced gradient of the table"
