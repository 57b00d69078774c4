"""Metrics of all rows: gathered exactly over shards, workers and hosts, and the same for whoever measures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop import events
from distprop.cli.scoring import measure
from distprop.config import load_job
from distprop.errors import ConfigError
from distprop.model import load_model
from distprop.runtime.replica import slot_layout
from distprop.training import assembling
from distprop.training.assembling import assemble
from tests.runtime.small import Fate, Ran, run, small_job, table, written

BINARY = {
    "model": [{"dense": 4}, "relu", {"dense": 1}],
    "loss": "binary_cross_entropy",
    "metrics": ["accuracy", "roc_auc", "average_precision", {"operating_point": {"sensitivity": 0.8}}],
    "checkpoint": {"keep_best": "valid/roc_auc"},
}
PROBE = {"model": [{"dense": 3}], "metrics": ["roc_auc", "f1_micro", "recall_per_class"], "checkpoint": {}}


def made_rows(seed: int, count: int, classes: int) -> dict[str, np.ndarray]:
    """Rows with labels that can half be learned, and weights."""
    made, chance = table(count, seed), np.random.default_rng(seed)
    wrong = chance.random(count) < 0.3
    label = np.where(wrong, chance.integers(0, classes, count), np.minimum(made["label"], classes - 1))
    return {**made, "label": label, "weight": chance.uniform(0.2, 2.0, count)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Training, validation and test rows for two classes and for three."""
    sizes = {"train": 150, "valid": 83, "test": 61}
    here = tmp_path_factory.mktemp("measured")
    return {
        f"{name}{classes}": written(here, made_rows(seed, size, classes), f"{name}{classes}")
        for classes in (2, 3)
        for seed, (name, size) in enumerate(sizes.items())
    }


def job_of(files: dict[str, str], here: Path, classes: int, **changes: Any) -> dict[str, Any]:
    keys = {**(BINARY if classes == 2 else PROBE), **changes}
    job = small_job(files[f"train{classes}"], here, **keys)
    job["data"] |= {"valid": files[f"valid{classes}"], "test": files[f"test{classes}"], "weight": "weight"}
    return {**job, "checkpoint": {"dir": str(here), **job["checkpoint"]}}


def expected(ran: Ran, rows: dict[str, np.ndarray]) -> float:
    """scikit-learn's ROC AUC of the model's outputs."""
    reference = pytest.importorskip("sklearn.metrics")
    raw = load_model(ran.result.model_uri).predict_raw({"x": rows["x"]}).astype(np.float64)
    words = {"sample_weight": rows["weight"].astype(np.float32)}
    if raw.shape[1] == 1:
        return float(reference.roc_auc_score(rows["label"], raw[:, 0], **words))
    shares = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    return float(reference.roc_auc_score(rows["label"], shares, multi_class="ovr", **words))


@pytest.mark.parametrize("classes", [2, 3])
def test_all_rows_are_gathered_whoever_holds_them(classes: int, files: dict[str, str], here: Path) -> None:
    alone = run(job_of(files, here / "one", classes))
    several = run(job_of(files, here / "three", classes), 2, (0, 1, 1), Fate(7))
    assert several.numbers == alone.numbers
    assert [event.curves for event in several.of(events.Evaluated)] == [
        event.curves for event in alone.of(events.Evaluated)
    ]
    found = alone.result.metrics
    assert found["valid/roc_auc"] == pytest.approx(expected(alone, made_rows(1, 83, classes)), rel=1e-12)
    assert found["test/roc_auc"] == pytest.approx(expected(alone, made_rows(2, 61, classes)), rel=1e-12)
    assert found["valid/roc_auc"] > 0.6
    assert "train/roc_auc" not in found


def test_the_threshold_that_valid_chose_is_measured_on_test(files: dict[str, str], here: Path) -> None:
    found = run(job_of(files, here, 2)).result.metrics
    assert found["valid/operating_sensitivity"] >= 0.8
    assert found["test/operating_threshold"] == found["valid/operating_threshold"]
    rows = made_rows(2, 61, 2)
    model = load_model(run(job_of(files, here, 2)).result.model_uri)
    called = model.predict_proba({"x": rows["x"]})[:, 1] >= found["test/operating_threshold"]
    positive, weight = rows["label"] == 1, rows["weight"]
    share = weight[called & positive].sum() / weight[positive].sum()
    assert share == pytest.approx(found["test/operating_sensitivity"], rel=1e-6)


def test_rows_of_one_class_have_no_ranking_and_end_nothing(files: dict[str, str], here: Path) -> None:
    rows = {**made_rows(1, 20, 2), "label": np.ones(20, np.int64)}
    job = job_of(files, here, 2)
    job["data"]["valid"] = written(here, rows, "ones")
    with pytest.raises(ConfigError, match="all rows of"):  # but nothing can be chosen by it
        run(job)
    job["checkpoint"]["keep_best"] = "valid/loss"
    ran = run(job)
    assert np.isnan(ran.result.metrics["valid/roc_auc"]) and np.isnan(ran.result.metrics["valid/operating_threshold"])
    assert np.isfinite(ran.result.metrics["test/operating_threshold"])  # chosen where it can be
    assert np.isfinite(measure(load_model(ran.result.model_uri), files["test2"])["operating_threshold"])


def test_evaluating_a_model_later_measures_the_same(files: dict[str, str], here: Path) -> None:
    for classes in (2, 3):
        ran = run(job_of(files, here / str(classes), classes))
        later = measure(load_model(ran.result.model_uri), files[f"test{classes}"])
        assert later.pop("rows") == 61
        told = {name.removeprefix("test/"): ran.result.metrics[name] for name in ran.result.metrics if "test/" in name}
        assert later == pytest.approx(told, rel=1e-6)


def test_two_classes_are_pictured_where_rows_were_gathered(files: dict[str, str], here: Path) -> None:
    *_, valid, test = run(job_of(files, here / "with", 2)).of(events.Evaluated)
    assert (valid.split, test.split) == ("valid", "test")
    assert test.curves.point == tuple(test.metrics[f"test/operating_{one}"] for one in POINT)
    assert test.curves.roc[0] == (0.0, 0.0) and test.curves.roc[-1] == pytest.approx((1.0, 1.0))
    assert sum(weight for _, _, weight in test.curves.calibration) == pytest.approx(made_rows(2, 61, 2)["weight"].sum())
    for event in run(job_of(files, here / "without", 2, metrics=["accuracy"], checkpoint={})).of(events.Evaluated):
        assert event.curves is None


POINT = ("threshold", "sensitivity", "specificity")


def test_training_tails_have_no_room_for_rows(files: dict[str, str], here: Path) -> None:
    blueprint = assemble(load_job(job_of(files, here, 2))).blueprint
    layout = blueprint.computer().layout
    sizes = {split: blueprint.tail_size(layout, split) for split in (None, "valid", "test")}
    assert sizes == {None: 4 + 1 + 4, "valid": 9 + 4 + 4 + 3 * 83, "test": 9 + 4 + 4 + 3 * 61}
    assert slot_layout(blueprint).tail == sizes["valid"]


def test_more_rows_than_can_be_gathered_are_refused(
    files: dict[str, str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembling, "MOST_GATHERED", 200)
    with pytest.raises(ConfigError, match=r"metric roc_auc needs the scores of all 83 rows of `data.valid`") as caught:
        assemble(load_job(job_of(files, here, 2)))
    assert "249 values" in caught.value.why and "smaller" in caught.value.fix
    assemble(load_job(job_of(files, here, 2, metrics=["accuracy"], checkpoint={})))


def test_a_class_that_is_not_there_is_refused_before_training(files: dict[str, str], here: Path) -> None:
    with pytest.raises(ConfigError, match="recall_5"):
        assemble(load_job(job_of(files, here, 3, metrics=["recall_5"])))


@pytest.mark.parametrize("watched", ["recall_per_class", "recall_1"])
def test_what_is_not_known_to_be_measured_is_not_watched(watched: str, files: dict[str, str], here: Path) -> None:
    keep = {"keep_best": f"valid/{watched}"}
    with pytest.raises(ConfigError, match="which is not measured"):
        assemble(load_job(job_of(files, here, 3, checkpoint=keep)))
    assert assemble(load_job(job_of(files, here, 3, checkpoint={"keep_best": "valid/recall_1"}, metrics=["recall_1"])))


def test_parts_of_a_metric_may_be_watched(files: dict[str, str], here: Path) -> None:
    watched = {"keep_best": "valid/operating_specificity"}
    assert assemble(load_job(job_of(files, here, 2, checkpoint=watched)))
    with pytest.raises(ConfigError, match="valid/operating_threshold, valid/operating_sensitivity"):
        assemble(load_job(job_of(files, here, 2, checkpoint={"keep_best": "valid/sensitivity"})))
