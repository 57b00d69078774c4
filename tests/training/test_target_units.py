"""Regressions in the units that people have: learned standardized, seen in their own units, the same bits anywhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from distprop import events
from distprop.cli.making import init
from distprop.cli.scoring import measure
from distprop.config import load_job
from distprop.data.memory import from_memory
from distprop.errors import CheckpointError, ConfigError
from distprop.model import Model, load_model
from distprop.training import train
from distprop.training.assembling import assemble
from tests.runtime.small import Fate, Ran, run, small_job, stop_at

ROWS = 300


def table(units: Any = lambda z: z, rows: int = ROWS) -> dict[str, np.ndarray]:
    """Rows whose z is explained to R2 0.93 by three features, and their target in some units."""
    chance = np.random.default_rng(0)
    a, b, c = chance.normal(size=(3, rows))
    return {"a": a, "b": b, "c": c, "y": units(a + 0.5 * b + 0.3 * chance.normal(size=rows))}


def written(room: Path, rows: dict[str, np.ndarray], name: str = "train") -> str:
    return from_memory({k: list(v) if v.ndim > 1 else v for k, v in rows.items()}, room, "y", name)


def regression(path: str, room: Path, **changes: Any) -> dict[str, Any]:
    given = {
        "data__target": "y",
        "data__features": ["a", "b", "c"],
        "data__batch_size": 32,
        "model": [{"dense": 12}, "tanh", {"dense": 1}],
        "loss": "mean_squared_error",
        "metrics": ["rmse", "mae", "r2"],
        "optimizer": {"adam": {"learning_rate": 0.03}},
        "train__epochs": 6,
    }
    return small_job(path, room / "checkpoints", **{**given, **changes})


def trained(room: Path, rows: dict[str, np.ndarray], **changes: Any) -> tuple[Ran, Model]:
    ran = run(regression(written(room, rows), room, **changes))
    return ran, load_model(str(ran.result.model_uri))


def explained(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(1.0 - np.square(y - predicted).sum() / np.square(y - y.mean()).sum())


PEOPLE = {
    "unit": lambda z: z,
    "price": lambda z: 300_000 + 80_000 * z,
    "year": lambda z: 2024 + z,
    "kelvin": lambda z: 290 + 8 * z,
    "small": lambda z: 1e-4 * z,
    "offset": lambda z: 1e5 + z,
    "far": lambda z: 1e9 + z,
    "whole": lambda z: np.round(1e6 + 1e4 * z).astype(np.int64),
}


@pytest.mark.parametrize("units", PEOPLE)
def test_a_proposed_job_learns_a_target_in_any_units(units: str, tmp_path: Path) -> None:
    rows = table(PEOPLE[units], 1000)
    config = tmp_path / "job.yaml"
    made = CliRunner().invoke(init, [written(tmp_path, rows), "--target", "y", "--out", str(config)])
    assert made.exit_code == 0, made.output
    assert load_job(config).data.target == "y"  # the default does it
    overrides = {"tracking.enabled": False, "checkpoint.dir": str(tmp_path / "kept")}
    result = train(config, inline=True, overrides=overrides)
    predicted = load_model(str(result.model_uri)).predict({name: rows[name] for name in "abc"})
    assert explained(rows["y"].astype(np.float64), predicted) >= 0.9
    assert result.metrics["valid/r2"] >= 0.85


def test_metrics_predictions_and_pictures_are_in_the_targets_units(tmp_path: Path) -> None:
    rows = table(PEOPLE["price"])
    ran, model = trained(tmp_path, rows, data__valid=None, data__test=written(tmp_path, rows, "test"))
    predicted = model.predict({name: rows[name] for name in "abc"})
    errors = predicted - rows["y"]
    found = ran.result.metrics
    assert predicted.dtype == np.float64
    assert found["test/rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-5)
    assert found["test/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert found["test/r2"] == pytest.approx(explained(rows["y"], predicted), rel=1e-5)
    assert found["test/loss"] == pytest.approx(np.square(errors / rows["y"].std()).mean(), rel=1e-4)
    assert measure(model, str(tmp_path / "test.parquet")) == pytest.approx(
        {name: found[f"test/{name}"] for name in ("loss", "rmse", "mae", "r2")} | {"rows": ROWS}, rel=1e-6
    )
    (seen,) = [event for event in ran.of(events.Evaluated) if event.split == "test"]
    assert seen.scatter_range == (rows["y"].min(), rows["y"].max())
    cells = np.clip((np.stack([rows["y"], predicted]) - rows["y"].min()) / np.ptp(rows["y"]) * 32, 0, 31).astype(int)
    wanted = np.zeros((32, 32))
    np.add.at(wanted, (cells[0], cells[1]), 1.0)
    assert np.abs(np.array(seen.scatter) - wanted).sum() <= 4  # a value at a border may fall to either side


@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error", "huber", {"pinball": [0.1, 0.5, 0.9]}])
def test_a_model_does_not_depend_on_the_units_of_its_target(loss: Any, tmp_path: Path) -> None:
    outputs = 3 if isinstance(loss, dict) else 1
    layers = [{"dense": 12}, "tanh", {"dense": outputs}]
    scale = 2.0**10  # exact in floating point: the same numbers are learned
    plain, here = trained(tmp_path / "a", table(), loss=loss, model=layers, metrics=None)
    other, there = trained(tmp_path / "b", table(lambda z: scale * z), loss=loss, model=layers, metrics=None)
    assert other.result.digest == plain.result.digest
    x = {name: table()[name] for name in "abc"}
    np.testing.assert_allclose(there.predict(x), scale * here.predict(x), rtol=1e-12)
    assert other.result.metrics["valid/rmse" if outputs == 1 else "valid/mae"] == pytest.approx(
        scale * plain.result.metrics["valid/rmse" if outputs == 1 else "valid/mae"], rel=1e-12
    )


def test_quantiles_hold_their_shares_in_the_targets_units(tmp_path: Path) -> None:
    rows = table(PEOPLE["price"], 1000)
    _, model = trained(
        tmp_path,
        rows,
        loss={"pinball": [0.1, 0.9]},
        metrics=None,
        model=[{"dense": 12}, "tanh", {"dense": 2}],
        train__epochs=20,
    )
    low, high = model.predict({name: rows[name] for name in "abc"}).T
    assert 0.6 < ((low <= rows["y"]) & (rows["y"] <= high)).mean() < 0.95


def test_gaussian_means_and_variances_are_those_of_the_target(tmp_path: Path) -> None:
    rows = table(PEOPLE["price"], 1000)
    _, model = trained(tmp_path, rows, loss="gaussian", model=[{"dense": 12}, "tanh", {"dense": 2}], train__epochs=20)
    raw = model.predict_raw({name: rows[name] for name in "abc"})
    np.testing.assert_array_equal(raw[:, 0], model.predict({name: rows[name] for name in "abc"}))
    assert np.sqrt(np.exp(raw[:, 1])).mean() == pytest.approx(0.3 * 80_000, rel=0.35)


def test_counts_stay_counts(tmp_path: Path) -> None:
    rows = table(lambda z: np.maximum(np.round(20 + 4 * z), 0.0))
    job = regression(written(tmp_path, rows), tmp_path, loss="poisson", model=[{"dense": 1}, "softplus"])
    assert assemble(load_job(job)).dataset.targets.units is None
    job["data"]["target"] = {"y": "standardize"}
    with pytest.raises(ConfigError, match="counts, which are not standardized"):
        assemble(load_job(job))


def test_the_recipe_says_how_the_target_is_learned_and_is_the_earlier_one_where_it_is_left(tmp_path: Path) -> None:
    path = written(tmp_path, table())
    job = load_job(regression(path, tmp_path))
    made = assemble(job).job
    assert made.data.target == {"y": "standardize"}
    assert made.flat()["data.target.y"] == "standardize"
    left = load_job(regression(path, tmp_path, data__target={"y": None}))
    assert assemble(left).job.recipe_hash() == job.recipe_hash() != made.recipe_hash()


def test_what_was_begun_with_the_target_as_it_is_does_not_go_on_standardized(tmp_path: Path) -> None:
    job = regression(written(tmp_path, table()), tmp_path)
    as_before = {**job, "data": {**job["data"], "target": {"y": None}}}
    begun = run(as_before, run_key="k", listeners=[stop_at(9)])
    assert begun.result.status == "interrupted"
    with pytest.raises(CheckpointError, match="recipe"):
        run(job, run_key="k", resume="auto")
    assert run(as_before, run_key="k", resume="auto").result.status == "finished"


def two_targets(room: Path) -> dict[str, Any]:
    """A weighted job on a target of two values, far from 0 and of other spreads."""
    rows = table()
    pair = np.stack([1e7 + rows["y"], -3e-5 * rows["y"] + 1e-4 * rows["a"]], axis=1)
    weight = np.random.default_rng(1).uniform(0.3, 2.0, ROWS)
    path = written(room, {**rows, "y": pair, "weight": weight})
    model = [{"dense": 12}, "batch_norm", "tanh", {"dense": 2}]
    return regression(path, room, data__weight="weight", data__micro_batch_size=4, model=model, train__epochs=3)


def test_workers_servers_faults_and_resuming_change_no_bit_of_a_standardized_target(tmp_path: Path) -> None:
    job = two_targets(tmp_path)

    def kept(name: str) -> dict[str, Any]:
        return {**job, "checkpoint": {**job["checkpoint"], "dir": str(tmp_path / name)}}

    alone = run(kept("alone"))
    for seed, (servers, homes) in enumerate([(1, (0, 0)), (2, (0, 1, 1)), (3, (2, 0, 1, 0, 2))]):
        several = run(kept(f"several-{seed}"), servers, homes, Fate(seed, kills=1))
        assert several.numbers == alone.numbers
    run(kept("stopped"), run_key="k", listeners=[stop_at(11)])
    resumed = run(kept("stopped"), 2, (0, 1), run_key="k", resume="must")
    assert resumed.result.digest == alone.result.digest
    assert resumed.result.metrics == pytest.approx(alone.result.metrics, rel=0, abs=0, nan_ok=True)
    assert alone.result.metrics["valid/r2"] > 0.5


def test_a_model_of_before_predicts_as_before(tmp_path: Path) -> None:
    rows = table()
    ran, _ = trained(tmp_path, rows, data__target={"y": None})
    folder = Path(str(ran.result.model_uri))
    description = folder / "model.json"
    assert "standardize" not in description.read_text()
    description.write_text(description.read_text().replace('"format": 2', '"format": 1'))
    model, x = load_model(folder), {name: rows[name] for name in "abc"}
    assert model.predict(x).dtype == np.float32
    np.testing.assert_array_equal(model.predict(x), model.network.predict(model.flat, model.prepare(x))[:, 0])


def test_a_description_whose_units_fit_no_loss_or_width_is_refused(tmp_path: Path) -> None:
    _, model = trained(tmp_path, table())
    for number, broken in enumerate(
        (
            replace(model, targets={**model.targets, "standardize": {"mean": [0, 1], "std": [1, 1]}}),
            replace(model, targets={**model.targets, "standardize": {"mean": [0], "std": [0]}}),
            replace(model, loss="poisson"),
        )
    ):
        folder = broken.save(tmp_path / f"broken-{number}")
        with pytest.raises(CheckpointError, match="does not describe a whole model"):
            load_model(folder)
