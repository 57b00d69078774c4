"""Class weights of a job become numbers before anything trains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.config import load_job
from distprop.errors import ConfigError
from distprop.model import load_model
from distprop.training.assembling import Assembly, assemble
from tests.runtime.small import run, small_job, table, written

LABELS = np.array(["cat", "dog", "owl"])


def assembled(rows: str, here: Path, weights: Any, **changes: Any) -> Assembly:
    loss = {"softmax_cross_entropy": {"class_weights": weights, "label_smoothing": 0.1}}
    return assemble(load_job(small_job(rows, here, loss=loss, **changes)))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Rows whose labels are words, of which the owl is rare."""
    made = table()
    label = np.where(np.arange(211) % 7 == 0, made["label"], made["label"] % 2)
    return written(tmp_path_factory.mktemp("words"), {"x": made["x"], "label": LABELS[label]})


@pytest.mark.parametrize("shards", [1, 5])
def test_balanced_weights_are_scikit_learns_on_the_training_rows(words: str, here: Path, shards: int) -> None:
    reference = pytest.importorskip("sklearn.utils.class_weight")
    found = assembled(words, here, "balanced", data__shards=shards)
    reader = found.dataset.reader
    labels = np.concatenate([batch.y for at in range(shards) for batch in reader("train", at).evaluation_batches(64)])
    expected = reference.compute_class_weight("balanced", classes=np.arange(3), y=labels)
    settings = found.blueprint.loss_spec["softmax_cross_entropy"]
    np.testing.assert_allclose(settings["class_weights"], expected, rtol=1e-15)
    assert settings["label_smoothing"] == 0.1


def test_weights_may_be_given_by_label(words: str, here: Path) -> None:
    found = assembled(words, here, {"owl": 4, "cat": 0.5})
    assert found.blueprint.loss_spec["softmax_cross_entropy"]["class_weights"] == [0.5, 1.0, 4]


def test_labels_that_are_numbers_may_be_written_as_text(rows: str, here: Path) -> None:
    assert assembled(rows, here, {"2": 4.0}).blueprint.loss_spec["softmax_cross_entropy"]["class_weights"][2] == 4.0


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"owll": 2}, "did you mean `owl`"),
        ("balance", "write class_weights: balanced"),
        ([1.0, 2.0], "has 2 weights"),
        ({"owl": -1}, "class_weights` is -1"),
        (3, "one number for each class"),
    ],
)
def test_wrong_weights_are_refused(words: str, here: Path, weights: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        assembled(words, here, weights)
    assert caught.value.what and caught.value.why and caught.value.fix


def test_a_class_without_rows_cannot_be_balanced(words: str, here: Path) -> None:
    classes = ["cat", "dog", "owl", "yak"]
    with pytest.raises(ConfigError, match="no training row is of the class 'yak'"):
        assembled(words, here, "balanced", data__classes=classes, model=[{"dense": 4}])


def test_a_job_with_balanced_weights_trains_and_its_model_has_numbers(words: str, here: Path) -> None:
    job = small_job(words, here, loss={"softmax_cross_entropy": {"class_weights": "balanced"}})
    first, second = run(job), run({**job, "checkpoint": {"dir": str(here / "other")}}, 2, (0, 1, 1))
    assert first.result.digest == second.result.digest
    assert first.result.digest != run({**job, "loss": "softmax_cross_entropy"}).result.digest


def test_a_gaussian_job_measures_its_means(here: Path) -> None:
    made = table()
    rows = written(here, {"x": made["x"], "label": made["x"][:, 0].astype(np.float64)})
    job = small_job(rows, here, loss="gaussian", model=[{"dense": 2}], metrics=None, train={"epochs": 40})
    job["optimizer"] = {"adam": {"learning_rate": 0.05}}
    ran = run(job)
    assert ran.result.metrics["valid/r2"] > 0.99
    model = load_model(ran.result.model_uri)
    assert model.predict({"x": made["x"]}).tolist() == model.predict_raw({"x": made["x"]})[:, 0].tolist()
    assert model.predicted_shape == ()
    assert ran.result.metrics["valid/loss"] < -0.5  # surer than a normal distribution of variance 1 is
