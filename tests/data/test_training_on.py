"""Small trainings on what the data room prepares: each kind learns, its model predicts on stored rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import distprop as dp
from distprop.errors import ConfigError
from tests.data.made import write

ROWS = 120


def job(train: str, features: Any, model: list[Any], **changes: Any) -> dict[str, Any]:
    data = {"train": train, "target": "label", "features": features, "shards": 3, "batch_size": 21}
    data |= changes.pop("data", {})
    return {
        "data": data, "model": model, "loss": "binary_cross_entropy", "optimizer": {"adamw": {"learning_rate": 0.03}},
        "train": {"epochs": 12}, "tracking": {"enabled": False},
    } | changes  # fmt: skip


def accuracy(model: Any, rows: Any, labels: Any) -> float:
    return float(np.mean(model.predict(rows) == labels))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_augmented_images_are_learned_with_the_same_bits_by_any_worker(here: Path) -> None:
    labels = np.arange(ROWS) % 2
    images = np.random.default_rng(0).normal(0, 0.3, (ROWS, 6, 7, 1)).astype(np.float32)
    images[labels == 1, 2:4] += 1.0
    path = write(here / "a.parquet", {"image": images, "label": labels}, group=16)
    augment = [{"flip": "horizontal"}, {"crop": {"height": 5, "width": 6}}, {"shift": 1}, {"noise": 0.1}]
    described = job(path, ["image"], ["flatten", {"dense": 1}], data={"augment": augment})
    one, three = (dp.train(described, inline=True, workers=workers) for workers in (1, 3))
    plain = dp.train(described, inline=True, overrides={"data.augment": [augment[1]]})
    assert one.digest == three.digest != plain.digest
    model = dp.load_model(str(one.model_uri))
    assert model.input_shape == (5, 6, 1)
    assert accuracy(model, images, labels) > 0.9


def test_lists_of_varying_length_and_filled_gaps_are_learned(here: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % 2
    lists = [(rng.integers(1, 4, rng.integers(0, 6)) + 3 * label).tolist() for label in labels]
    ages = [None if i % 9 == 0 else float(age + 3 * labels[i]) for i, age in enumerate(rng.normal(size=ROWS))]
    path = write(here / "a.parquet", pa.table({"tokens": lists, "age": ages, "label": labels}), group=16)
    features = {"tokens": {"pad": {"length": 4, "keep": "last"}}, "age": [{"impute": "median"}, "standardize"]}
    trained = dp.train(job(path, features, [{"dense": 8}, "relu", {"dense": 1}]), inline=True)
    model = dp.load_model(str(trained.model_uri))
    assert accuracy(model, {"tokens": lists, "age": ages}, labels) > 0.9
    assert accuracy(model, pa.table({"tokens": lists[:7], "age": ages[:7]}), labels[:7]) > 0.7


def test_quantiles_of_several_values_are_refused(here: Path) -> None:
    columns = {"a": np.arange(30.0), "label": np.zeros((30, 2)), "one": np.zeros((30, 1))}
    described = job(write(here / "a.parquet", columns), ["a"], [{"dense": 2}], loss={"pinball": [0.1, 0.9]})
    with pytest.raises(ConfigError, match="which has 2 values a row") as error:
        dp.train(described, inline=True)
    assert "about one value" in error.value.why
    dp.train(described, inline=True, overrides={"data.target": "one", "train.epochs": 1})
