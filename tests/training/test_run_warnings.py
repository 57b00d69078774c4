"""What cannot go well is said: before the training what data and recipe tell, after it what the model is worth."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop import events
from distprop.config import load_job
from distprop.data.memory import from_memory
from distprop.errors import ConfigError, TrainingError
from distprop.training import check
from distprop.training.assembling import assemble
from distprop.training.run_warnings import warnings_after, warnings_before
from tests.runtime.small import Ran, run, small_job, table


def written(room: Path, rows: dict[str, Any], name: str = "train") -> str:
    return from_memory(rows, room, "label", name)


def said(ran: Ran) -> dict[str, str]:
    """By kind, what warnings say; each kind once."""
    told = [event for event in ran.of(events.Warned) if not event.layer]
    assert len({event.kind for event in told}) == len(told)
    assert set(ran.result.warnings) >= {event.what for event in told}
    return {event.kind: event.what for event in told}


def test_a_healthy_job_is_not_warned_of(rows: str, here: Path) -> None:
    assert said(run(small_job(rows, here))) == {}


def test_rows_of_one_class_train_with_a_warning(here: Path) -> None:
    made = table()
    rows = written(here, {**made, "label": np.full(len(made["x"]), 2)})
    warned = said(run(small_job(rows, here)))
    assert warned == {"classes": "all training rows are of the class 2: the model can only learn to answer it"}


def test_a_class_that_training_never_had_is_named(here: Path) -> None:
    made = table()
    few = {key: values[made["label"] < 2] for key, values in made.items()}
    job = small_job(written(here, few), here, data__valid=written(here, made, "valid"))
    warned = said(run(job))
    assert warned == {"classes": "data.valid has rows of 2, and no training row is: they cannot be told"}
    (one,) = [result for result in check(job, inline=True) if result.name == "classes"]
    assert one.ok and one.detail == warned["classes"] and "data.train" in one.fix


def test_text_labels_are_counted_by_class(here: Path) -> None:
    made = table()
    words = np.array(["ant", "bee", "cow"])[made["label"]]
    few = {"x": made["x"][made["label"] < 2], "label": words[made["label"] < 2]}
    valid = written(here, {"x": made["x"], "label": words}, "valid")
    job = small_job(written(here, few), here, data__valid=valid, data__classes=["ant", "bee", "cow"])
    assembly = assemble(load_job(job))
    assert assembly.dataset.splits["train"].labels == (*np.bincount(made["label"])[:2].tolist(), 0)
    assert "rows of 'cow'" in next(warnings_before(assembly)).what


@pytest.mark.parametrize("rate", [0, {"cosine": {"peak": 0.0}}])
def test_a_rate_of_0_is_warned_of(rows: str, here: Path, rate: Any) -> None:
    assert "rate" in said(run(small_job(rows, here, optimizer={"sgd": {"learning_rate": rate}})))


def test_a_rate_that_ends_or_begins_at_0_is_not(rows: str, here: Path) -> None:
    for rate in ({"cosine": {"peak": 0.1}}, {"warmup_linear": {"peak": 0.1, "warmup_steps": 9}}):
        job = load_job(small_job(rows, here, optimizer={"sgd": {"learning_rate": rate}}))
        assert list(warnings_before(assemble(job))) == []


def regression(room: Path, **changes: Any) -> dict[str, Any]:
    made = table()
    rows = written(room, {"x": made["x"], "label": 300.0 + made["x"][:, 0].astype(np.float64)})
    given = {"model": [{"dense": 1}], "loss": "mean_squared_error", "metrics": None, **changes}
    return small_job(rows, room, **given)


def test_a_model_that_is_worse_than_the_mean_says_so_at_the_end(here: Path) -> None:
    ran = run(regression(here, data__target={"label": None}))
    assert ran.result.metrics["valid/r2"] < 0
    warned = said(ran)
    assert warned.keys() == {"worse_than_mean"}
    assert f"valid/r2 is {ran.result.metrics['valid/r2']:.3g}" in warned["worse_than_mean"]
    told = [type(event) for event in ran.told]
    assert told.index(events.Warned) < told.index(events.RunEnded)


def test_a_model_that_is_better_than_the_mean_does_not(here: Path) -> None:
    ran = run(regression(here, optimizer={"adam": {"learning_rate": 0.1}}, train__epochs=20))
    assert ran.result.metrics["valid/r2"] > 0.9
    assert said(ran) == {}


def test_a_huge_loss_at_the_end_is_told(here: Path) -> None:
    warned = said(run(regression(here, optimizer={"sgd": {"learning_rate": 3.0}, "clip_norm": None}, metrics=["mae"])))
    assert warned.keys() == {"huge_loss"}


@pytest.mark.parametrize("outlier", [1e30, -1e9])
def test_one_row_beside_which_all_others_look_alike_is_told(here: Path, outlier: float) -> None:
    made = table()
    label = made["x"][:, 0].astype(np.float64)
    job = regression(here, data__valid=None)
    assert list(warnings_before(assemble(load_job(job)))) == []
    label[7] = outlier
    job["data"]["train"] = written(here, {"x": made["x"], "label": label}, "outlying")
    ran = run(job)
    assert said(ran)["outlier"].startswith("one row makes 100% of the target's variance")
    assert ran.result.status == "finished" and math.isfinite(ran.result.metrics["train/loss"])


def test_what_losses_are_huge_depends_on_what_they_are_of(rows: str, here: Path) -> None:
    def kinds(job: dict[str, Any], **metrics: float) -> list[str]:
        found = {name.replace("_", "/"): value for name, value in metrics.items()}
        return [one.kind for one in warnings_after(assemble(load_job(job)).blueprint, found)]

    classes, values = small_job(rows, here), regression(here)
    assert kinds(classes, train_loss=3.6e28) == kinds(values, train_loss=3.6e28) == ["huge_loss"]
    assert kinds(classes, train_loss=500.0, valid_loss=0.5) == [], "the kept model is not the last one"
    assert kinds(regression(here, data__target={"label": None}), valid_loss=90_000.0) == [], "of prices it may be"
    assert kinds(values, valid_r2=math.nan, valid_loss=math.nan) == kinds(values) == []


def test_a_ranking_is_not_watched_on_rows_of_one_class(here: Path) -> None:
    made = table()
    ones = {key: values[made["label"] == 1] for key, values in made.items()}
    changes = {"data__valid": written(here, ones, "valid"), "metrics": ["roc_auc", "average_precision"]}
    for watching in (
        {"checkpoint__keep_best": "valid/roc_auc"},
        {"train__early_stopping": {"metric": "valid/average_precision", "patience": 2}},
    ):
        with pytest.raises(ConfigError, match="is watched, and all rows of"):
            assemble(load_job(small_job(written(here, made), here, **changes, **watching)))
    assemble(load_job(small_job(written(here, made), here, **changes)))


def unranked(here: Path, **changes: Any) -> dict[str, Any]:
    """A job of two classes whose ranking is NaN: rows of one class weigh nothing in validation."""
    made = table()
    two = {"x": made["x"], "label": made["label"] % 2}
    train = written(here, {**two, "weight": np.ones(len(made["x"]))})
    valid = written(here, {**two, "weight": (two["label"] == 1).astype(np.float64)}, "valid")
    given = {
        "data__valid": valid,
        "data__weight": "weight",
        "model": [{"dense": 1}],
        "loss": "binary_cross_entropy",
        "metrics": ["roc_auc"],
    }
    return small_job(train, here, **{**given, **changes})


@pytest.mark.parametrize(
    "watching",
    [
        {"checkpoint__keep_best": "valid/roc_auc"},
        {"train__early_stopping": {"metric": "valid/roc_auc", "patience": 2}},
        {"train__early_stopping": {"metric": "valid/roc_auc", "patience": 2}, "checkpoint__keep_best": "valid/loss"},
        {"train__starts": 2, "checkpoint__keep_best": "valid/roc_auc"},
    ],
)
def test_where_nothing_ever_chose_the_training_fails_and_says_why(here: Path, watching: dict[str, Any]) -> None:
    told: list[events.Event] = []
    with pytest.raises(
        TrainingError, match="`valid/roc_auc` chooses the model or ends the training, and was NaN"
    ) as it:
        run(unranked(here, **watching), listeners=[told.append])
    assert it.value.why and it.value.fix
    warned = [event for event in told if isinstance(event, events.Warned) and event.kind == "not_a_number"]
    assert [event.what for event in warned] == [
        "valid/roc_auc is NaN: it chooses nothing, and counts as no better than before"
    ]


def test_a_metric_that_nothing_is_chosen_by_may_be_nan(here: Path) -> None:
    ran = run(unranked(here))
    assert math.isnan(ran.result.metrics["valid/roc_auc"])
    assert ran.result.status == "finished"
