"""Running statistics follow the leaves', whatever the optimizer does; evaluations and models use them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop import checkpoint, events
from distprop.checkpoint import Checkpoint
from distprop.config import load_job
from distprop.errors import ConfigError
from distprop.model import load_model
from distprop.nn.network import build_network
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.feed import Feed
from distprop.training.assembling import assemble
from tests.runtime.small import NORMALIZED, OPTIMIZERS, WIDTH, Ran, run, small_job, table, written

OTHERS: dict[str, dict[str, Any]] = {**OPTIMIZERS, "groups": {"adam": {}, "rates": {"0.*": 0, "1.*": 0.1}}}
ARENA = build_network(NORMALIZED, (WIDTH,)).arena


def job_of(rows: str, room: Path, /, **changes: Any) -> dict[str, Any]:
    """A job that keeps every version from the first on."""
    kept = {"checkpoint__every": "1 steps", "checkpoint__keep_last": 99}
    return small_job(rows, room, model=NORMALIZED, **{**kept, **changes})


def trained(job: dict[str, Any]) -> tuple[Ran, list[Checkpoint]]:
    """Trained by two servers, one of which has the first layers alone."""
    ran = run(job, 2, (0, 1))
    assert ran.result.checkpoint is not None
    folder = Path(ran.result.checkpoint).parent
    return ran, [checkpoint.open_checkpoint(str(path)) for path in sorted(folder.glob("0*"))]


def statistics(vector: np.ndarray) -> dict[str, np.ndarray]:
    return {name: view for name, view in ARENA.views(vector).items() if name.endswith(("mean", "variance"))}


def leaves(blueprint: Blueprint, version: int) -> list[Any]:
    """The rows of a step, leaf by leaf: (shard, batch)."""
    plan, feed = blueprint.dataset.train_plan, Feed(blueprint.dataset)
    epoch, step = divmod(version, plan.steps_per_epoch)
    try:
        present = [shard for shard in range(plan.shards) if plan.leaf_rows(shard, step)]
        return [(shard, feed.batch(shard, epoch, step)) for shard in present]
    finally:
        feed.close()


def test_they_move_by_their_share_to_the_mean_over_rows_of_what_leaves_have(rows: str, room: Path) -> None:
    job = job_of(rows, room)
    mean, variance = np.zeros(WIDTH), np.ones(WIDTH)
    for version, kept in enumerate(trained(job)[1]):
        xs = [batch.x.astype(np.float64) for _, batch in leaves(assemble(load_job(job)).blueprint, version)]
        sizes = [len(x) for x in xs]
        mean += 0.1 * (np.average([x.mean(axis=0) for x in xs], axis=0, weights=sizes) - mean)
        variance += 0.1 * (np.average([x.var(axis=0, ddof=1) for x in xs], axis=0, weights=sizes) - variance)
        found = statistics(kept.weights())
        np.testing.assert_allclose(found["0.batch_norm.mean"], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["0.batch_norm.variance"], variance, rtol=1e-5)


def test_no_optimizer_touches_them(rows: str, room: Path) -> None:
    """Those of the features do not depend on weights: rates, decay, clipping, holding and freezing leave no trace."""
    found = set()
    for name, optimizer in OTHERS.items():
        _, versions = trained(job_of(rows, room / name, optimizer={"clip_norm": 0.5, **optimizer}, train={"steps": 4}))
        views = statistics(versions[-1].weights())
        found.add(views["0.batch_norm.mean"].tobytes() + views["0.batch_norm.variance"].tobytes())
        for state, vector in versions[-1].state(slice(0, ARENA.size)).items():
            assert state == "average" or not any(view.any() for view in statistics(vector).values())
    assert len(found) == 1


def test_they_are_averaged_as_the_weights_are(rows: str, room: Path) -> None:
    _, versions = trained(job_of(rows, room, optimizer=OPTIMIZERS["averaged"]))
    ages = 0.8 ** np.arange(len(versions))[::-1]
    average = np.average([version.weights() for version in versions], axis=0, weights=ages)
    np.testing.assert_allclose(versions[-1].kept(), average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_gradients_norm_is_that_of_parameters(clip: float | None, rows: str, room: Path) -> None:
    job = job_of(rows, room, optimizer={"sgd": {}, "clip_norm": clip}, train={"steps": 1})
    blueprint = assemble(load_job(job)).blueprint
    weights, total, rows_seen = np.empty(ARENA.size, np.float32), np.zeros(ARENA.size), 0
    blueprint.network.init(blueprint.seed, weights)
    for shard, batch in leaves(blueprint, 0):
        gradient = np.empty_like(weights)
        blueprint.computer().gradient(weights, batch.x, batch.y, batch.weights, 0, shard, gradient)
        total, rows_seen = total + gradient, rows_seen + batch.rows
    for view in statistics(total).values():
        view[...] = 0.0
    (step,) = trained(job)[0].of(events.StepEnded)
    assert step.metrics["gradient_norm"] == pytest.approx(np.linalg.norm(total / rows_seen), rel=1e-5)


def test_a_saved_model_predicts_what_was_measured(rows: str, room: Path) -> None:
    test = table(60, seed=9)
    ran, _ = trained(job_of(rows, room, data__test=written(room, test, "test")))
    assert ran.result.model_uri is not None
    model = load_model(ran.result.model_uri)
    assert model.digest == ran.result.digest
    logits = model.predict_raw({"x": test["x"]}).astype(np.float64)
    right = np.take_along_axis(logits, test["label"][:, None], axis=1)[:, 0]
    loss = float(np.mean(np.log(np.exp(logits).sum(axis=1)) - right))
    assert ran.result.metrics["test/loss"] == pytest.approx(loss, rel=1e-5)
    assert model.predict_raw({"x": test["x"][:1]}) == pytest.approx(logits[:1], rel=1e-5)


@pytest.mark.parametrize("beside", [{"rates": {"*.mean": 0}}, {"decay_exclude": ["0.batch_norm.variance"]}])
def test_they_are_no_parameters_that_a_pattern_could_name(beside: dict[str, Any], rows: str, room: Path) -> None:
    with pytest.raises(ConfigError, match="which is no parameter's name"):
        run(job_of(rows, room, optimizer={"adamw": {}, **beside}))
