"""How trainings end: at the last step, early, with the best model, measured on test rows, or with a clear error."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from distprop import events, manifest
from distprop.cli import main
from distprop.errors import CheckpointError, DivergedError, TrainingError
from distprop.model import load_model
from distprop.runtime.replica import Replica
from tests.runtime.small import OPTIMIZERS, run, small_job, stop_at, table, written

DIVERGES = {"sgd": {"learning_rate": {"exponential": {"value": 0.1, "factor": 1.6, "every": 1}}}}
"""Better at first, then worse."""


def told_end(told: list[events.Event]) -> events.RunEnded:
    """The last event, of which there is one only."""
    (ended,) = [event for event in told if isinstance(event, events.RunEnded)]
    assert told[-1] is ended
    return ended


def test_a_loss_that_is_no_number_ends_the_training_and_says_in_which_step(rows: str, here: Path) -> None:
    job = small_job(rows, here, optimizer={"sgd": {"learning_rate": 1e30}})
    told: list[events.Event] = []
    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) in step \d") as caught:
        run(job, listeners=[told.append])
    assert told_end(told).status == "failed" and "the loss became" in told_end(told).why
    assert "learning rate" in caught.value.fix


def test_what_is_told_begins_with_the_start_and_ends_with_the_end(rows: str, here: Path) -> None:
    ran = run(small_job(rows, here))
    assert isinstance(ran.told[0], events.RunStarted)
    end = told_end(list(ran.told))
    assert (end.status, end.digest, end.version) == ("finished", ran.result.digest, 10)
    assert [step.version for step in ran.of(events.StepEnded)] == list(range(1, 11))


def test_training_stops_when_the_metric_has_stalled(rows: str, here: Path) -> None:
    stopping = {"metric": "valid/loss", "patience": 2}
    still = {"sgd": {"learning_rate": 1e-12}}  # nothing gets better
    train = {"epochs": 20, "evaluate_every": "2 steps", "early_stopping": stopping}
    ran = run(small_job(rows, here, train=train, optimizer=still), 2, (0, 1))
    assert ran.result.status == "finished"
    assert ran.result.steps == 6 and ran.of(events.Evaluated)[-1].stop
    assert not any(verdict.stop for verdict in ran.of(events.Evaluated)[:-1])


def test_the_model_is_the_best_one_not_the_last(rows: str, here: Path) -> None:
    """With a rate that ruins what was learned, an early version is the best, and it is kept."""
    ruin = {"sgd": {"learning_rate": {"step": {"value": 0.1, "boundaries": [5], "factor": 200.0}}}}
    try:
        ran = run(small_job(rows, here, optimizer=ruin, checkpoint__keep_best="valid/loss"))
    except DivergedError:
        pytest.fail("the rate was meant to ruin, not to diverge")
    verdicts = ran.of(events.Evaluated)
    best = min(verdicts, key=lambda verdict: verdict.metrics["valid/loss"])
    (kept,) = ran.of(events.ModelSaved)
    assert best.version < 10 and kept.version == best.version
    assert kept.digest == ran.result.digest == load_model(kept.path).digest


@pytest.mark.parametrize("servers", [1, 2])
def test_early_stopping_keeps_the_best_model_by_the_metric_that_stops(rows: str, here: Path, servers: int) -> None:
    ruin = {"sgd": {"learning_rate": {"step": {"value": 0.1, "boundaries": [5], "factor": 200.0}}}}
    stopping = {"metric": "valid/loss", "patience": 3}
    train = {"epochs": 8, "evaluate_every": "2 steps", "early_stopping": stopping}
    ran = run(small_job(rows, here, optimizer=ruin, train=train), servers, tuple(range(servers)))
    verdicts = ran.of(events.Evaluated)
    best = min(verdicts, key=lambda verdict: verdict.metrics["valid/loss"])
    assert verdicts[-1].stop and verdicts[-1].version > best.version, "or this could not fail"
    (kept,) = ran.of(events.ModelSaved)
    assert kept.version == best.version
    assert ran.result.metrics["valid/loss"] == best.metrics["valid/loss"]
    other = run(small_job(rows, here / "other", optimizer=ruin, train=train, checkpoint__keep_best="valid/accuracy"))
    chosen = max(other.of(events.Evaluated), key=lambda verdict: verdict.metrics["valid/accuracy"])
    assert other.of(events.ModelSaved)[0].version == chosen.version, "what a job names comes first"


def test_test_rows_are_measured_once_with_the_kept_model(rows: str, here: Path) -> None:
    test = table(60, seed=9)
    job = small_job(rows, here, data__test=written(here, test, "test"), checkpoint__keep_best="valid/loss")
    ran = run(job, 2, (0, 1, 1))
    (measured,) = [verdict for verdict in ran.of(events.Evaluated) if verdict.split == "test"]
    assert ran.result.model_uri is not None
    right = load_model(ran.result.model_uri).predict({"x": test["x"]}) == test["label"]
    assert ran.result.metrics["test/accuracy"] == measured.metrics["test/accuracy"] == np.mean(right)
    assert measured.version == ran.of(events.ModelSaved)[0].version


def test_without_test_rows_the_steps_are_the_same(rows: str, here: Path) -> None:
    job = small_job(rows, here)
    plain, tested = run(job), run(small_job(rows, here, data__test=written(here, table(60, 9), "test")))
    assert plain.result.digest == tested.result.digest


def test_a_listener_that_fails_does_not_end_the_training(rows: str, here: Path) -> None:
    heard: list[events.Event] = []

    def fails(event: events.Event) -> None:
        heard.append(event)
        raise RuntimeError("a mistake in a listener")

    assert run(small_job(rows, here), listeners=[fails]).result.status == "finished"
    assert len(heard) == 1


def test_a_listener_that_has_enough_ends_it_as_interrupted(rows: str, here: Path) -> None:
    ran = run(small_job(rows, here), listeners=[stop_at(2)])
    assert ran.result.status == told_end(list(ran.told)).status == "interrupted"
    assert ran.result.checkpoint is not None and Path(ran.result.checkpoint).name == f"{ran.result.steps:010d}"
    model = load_model(ran.result.model_uri)
    assert model.digest == ran.result.digest == told_end(list(ran.told)).digest
    assert model.metadata["version"] == ran.result.steps


def test_a_listener_that_has_enough_gets_the_model_that_is_kept_so_far(rows: str, here: Path) -> None:
    """As a search that prunes does: the best version's, which is not the last one."""
    job = small_job(rows, here, checkpoint__keep_best="valid/loss", optimizer=DIVERGES, train__evaluate_every="2 steps")
    ran = run(job, listeners=[stop_at(7)])
    best = [one.version for one in ran.of(events.Evaluated) if one.best][-1]
    model = load_model(ran.result.model_uri)
    assert ran.result.status == "interrupted" and model.metadata["version"] == best < ran.result.steps
    assert model.digest == ran.result.digest
    measured = [one.metrics for one in ran.of(events.Evaluated) if one.version == best]
    assert model.metadata["metrics"]["valid/loss"] == measured[0]["valid/loss"]


def test_a_model_that_was_not_kept_does_not_turn_enough_into_a_failure(rows: str, here: Path) -> None:
    def damage(event: events.Event) -> None:
        if isinstance(event, events.Checkpointed) and event.version >= 3:
            Path(event.path, "part-0.safetensors").unlink()

    ran = run(small_job(rows, here), listeners=[stop_at(3), damage])
    assert (ran.result.status, ran.result.model_uri) == ("interrupted", None)
    assert ran.of(events.CheckpointFailed)


@pytest.mark.parametrize("optimizer", [OPTIMIZERS["adamw"], OPTIMIZERS["averaged"]], ids=["last", "average"])
def test_a_checkpoint_is_a_model(rows: str, here: Path, optimizer: Any) -> None:
    ran = run(small_job(rows, here, optimizer=optimizer))
    model, saved = load_model(ran.result.model_uri), load_model(str(ran.result.checkpoint))
    assert saved.digest == model.digest and saved.metadata["version"] == 10
    assert saved.metadata["metrics"]["valid/loss"] == model.metadata["metrics"]["valid/loss"]
    np.testing.assert_array_equal(saved.predict_proba({"x": table()["x"]}), model.predict_proba({"x": table()["x"]}))
    command = ["predict", str(ran.result.checkpoint), rows, "--out", "labels.parquet"]
    assert CliRunner().invoke(main, command).exit_code == 0


def test_a_checkpoint_of_an_earlier_distprop_is_no_model(rows: str, here: Path) -> None:
    saved = Path(str(run(small_job(rows, here)).result.checkpoint), manifest.FILE)
    found, _ = manifest.read(saved.read_bytes())
    saved.write_bytes(manifest.write(replace(found, model={})))
    with pytest.raises(CheckpointError, match="does not say what its weights mean"):
        load_model(saved.parent)


def test_planned_faults_kill_the_workers_they_name(rows: str, here: Path) -> None:
    calm = run(small_job(rows, here), 2, (0, 1))
    faults = [{"kill": "worker", "index": 1, "step": 2}, {"kill": "worker", "index": 0, "step": 5}]
    ran = run(small_job(rows, here, faults=faults), 2, (0, 1))
    assert [lost.worker for lost in ran.of(events.WorkerLost)] == [1, 0]
    assert ran.numbers == calm.numbers


def test_regression_learns_and_is_drawn_as_counts(here: Path) -> None:
    rows = table()
    train = written(here, {"x": rows["x"], "label": rows["x"].sum(axis=1)})
    changes = {"model": [{"dense": 8}, "tanh", {"dense": 1}], "loss": "mean_squared_error", "metrics": ["r2"]}
    job = small_job(train, here, optimizer=OPTIMIZERS["adam"], train={"epochs": 25}, checkpoint__every=None, **changes)
    ran = run(job, 2, (0, 1))
    assert ran.result.metrics["valid/r2"] > 0.5
    assert ran.of(events.Evaluated)[-1].scatter is not None


def test_an_error_in_a_worker_reaches_the_caller(rows: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TrainingError("the arithmetic unit is on fire")

    monkeypatch.setattr(Replica, "perform", broken)
    told: list[events.Event] = []
    with pytest.raises(TrainingError, match="on fire"):
        run(small_job(rows, here), listeners=[told.append])
    assert told_end(told).status == "failed"
