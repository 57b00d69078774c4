"""Proposed jobs fit their data: they prepare without errors, and a linear model learns from what they read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from distprop.data.dataset import Dataset, prepare
from distprop.data.inspecting import suggest
from distprop.errors import DataError
from tests.data.made import shared, write

TASKS: dict[str, Any] = {
    "softmax_cross_entropy": "classification", "binary_cross_entropy": "binary", "mean_squared_error": "regression",
}  # fmt: skip


def prepared(job: dict[str, Any]) -> Dataset:
    return prepare(job["data"], job["seed"], TASKS[job["loss"]], next(iter(job["model"][-1].values())))


def rows_of(data: Dataset, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
    plan = data.splits[split].plan
    batches = [b for v in range(plan.shards) for b in data.reader(split, v).evaluation_batches(512)]
    x = np.concatenate([b.x.reshape(b.rows, -1) for b in batches]).astype(float)
    return np.column_stack([x, np.ones(len(x))]), np.concatenate([b.y for b in batches])


def ridge_r2(data: Dataset) -> float:
    """R2 on the validation rows of a ridge regression; of class 0 against the others for classes."""
    (x, y), (xv, yv) = rows_of(data, "train"), rows_of(data, "valid")
    y, yv = (y, yv) if data.targets.classes is None else ((y == 0) * 1.0, (yv == 0) * 1.0)
    w = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
    return 1.0 - float(((xv @ w - yv) ** 2).mean() / yv.var())


SAMPLES = [
    ("digits", "label", 10, "softmax_cross_entropy", 0.5), ("wine", "label", 3, "softmax_cross_entropy", 0.5),
    ("breast_cancer", "label", 1, "binary_cross_entropy", 0.5), ("diabetes", "target", 1, "mean_squared_error", 0.3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "outputs", "loss", "least"), SAMPLES)
def test_jobs_for_the_samples_learn(name: str, target: str, outputs: int, loss: str, least: float) -> None:
    job = suggest(f"sample://{name}", target)
    assert (job["name"], job["loss"], job["model"][-1]) == (name, loss, {"dense": outputs})
    assert ridge_r2(prepared(job)) > least


TABLES = [
    ("mnist/test", "label", 10, {"image"}), ("fsdd/test", "label", 10, {"logmel", "speaker", "take"}),
    ("pneumonia_mnist/val", "label", 1, {"image"}),
    ("driving_sim/test", "steering_smooth", 1, {"image", "steering", "throttle", "brake", "speed", "run",
                                                "time"}),
    ("fx_rates/test", "next_logvol5", 1, {"returns", "next_return", "currency", "rate"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "outputs", "features"), TABLES)
def test_jobs_for_the_shared_tables_fit_them(name: str, target: str, outputs: int, features: set[str]) -> None:
    job = suggest(shared(f"{name}.parquet"), target)
    assert set(job["data"]["features"]) == features
    data = prepared(job)
    assert data.targets.outputs == outputs
    batch = data.reader("train", 0).batch(0, 0)
    assert np.isfinite(batch.x).all()
    assert 0.05 < batch.x.std() < 3.0


def test_files_beside_the_training_file_are_used() -> None:
    job = suggest(shared("pneumonia_mnist/train.parquet"), "label")
    assert job["name"] == "pneumonia_mnist"
    assert [Path(job["data"][split]).name for split in ("valid", "test")] == ["val.parquet", "test.parquet"]


def test_columns_without_meaning_are_left_out_with_the_reason(tmp_path: Path) -> None:
    columns = {
        "row": np.arange(60), "same": np.ones(60), "name": np.array([f"n{i}" for i in range(60)]),
        "age": np.arange(60) * 7 % 60 * 0.5, "size": np.arange(60) % 7, "label": np.arange(60) % 3,
    }  # fmt: skip
    job = suggest(write(tmp_path / "a.parquet", columns), "label")
    assert job["data"]["features"] == {"age": "standardize", "size": "standardize"}
    assert {key: why for key, why in job["comments"].items() if "features" in key} == {
        "data.features.row": "left out: it counts the rows",
        "data.features.same": "left out: it is the same in every row",
        "data.features.name": "left out: it has 60 different texts in 60 rows",
    }
    assert prepared(job).targets.classes == (0, 1, 2)


@pytest.mark.parametrize(
    ("categories", "how", "width"),
    [(3, "one_hot", 3), (40, {"one_hot": {"unknown": "ignore"}}, 40), (9, {"one_hot": {"unknown": "ignore"}}, 9),
     (2_500, {"hash": 4_096}, 4_096)],
)  # fmt: skip
def test_many_categories_are_features_and_how_is_said(tmp_path: Path, categories: int, how: Any, width: int) -> None:
    rng = np.random.default_rng(0)
    town = np.array([f"t{i}" for i in [*rng.permutation(categories), *rng.integers(0, min(categories, 3), 5_000)]])
    path = write(tmp_path / "a.parquet", {"town": town, "label": rng.normal(size=len(town))}, group=2_000)
    job = suggest(path, "label")
    assert job["data"]["features"] == {"town": how}
    assert ("categories" in job["comments"].get("data.features.town", "")) == (categories > 30)
    assert 0.8 * width < prepared(job).input_shape[0] <= width  # those that the training rows have


def test_a_text_of_its_own_in_nearly_every_row_is_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    town = np.array([f"t{i}" for i in rng.permutation(100) // 1.5])
    path = write(tmp_path / "a.parquet", {"town": town, "a": rng.normal(size=100), "label": rng.normal(size=100)})
    job = suggest(path, "label")
    assert list(job["data"]["features"]) == ["a"]
    assert job["comments"]["data.features.town"] == "left out: it has 67 different texts in 100 rows"


def test_columns_that_give_the_target_away_are_left_out_or_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    price, label = rng.normal(size=90), np.array(["low", "mid", "high"] * 30)
    columns = {
        "price": price, "price_eur": rng.normal(size=90), "cents": price * 100 + 3,
        "near": price + 0.1 * rng.normal(size=90),
        "frame": np.cumsum(rng.integers(1, 9, 90)), "time": np.cumsum(rng.random(90)), "size": rng.normal(size=90),
        "level": label, "code": np.arange(90) % 3 + 4, "part": np.arange(90) % 6,
    }  # fmt: skip
    path = write(tmp_path / "a.parquet", columns)

    def said(target: str) -> dict[str, str]:
        found = suggest(path, target)
        features, comments = found["data"]["features"], found["comments"]
        said = {key.removeprefix("data.features."): why for key, why in comments.items() if "features" in key}
        assert {name for name, why in said.items() if why.startswith("left out")}.isdisjoint(features)
        assert {name for name, why in said.items() if why.startswith("caution")} <= features.keys()
        return said

    prices = said("price")
    assert {name: why.split(":")[0] for name, why in prices.items()} == {
        "cents": "left out", "near": "caution", "frame": "left out", "time": "caution", "price_eur": "caution",
    }  # fmt: skip
    levels = said("level")
    assert {name: why.split(":")[0] for name, why in levels.items()} == {
        "code": "left out", "part": "caution", "frame": "left out", "time": "caution",
    }  # fmt: skip


def test_a_doubtful_column_is_better_than_none(tmp_path: Path) -> None:
    a = np.random.default_rng(0).normal(size=60)
    job = suggest(write(tmp_path / "a.parquet", {"a": a, "label": 2 * a}), "label")
    assert list(job["data"]["features"]) == ["a"]
    assert job["comments"]["data.features.a"].startswith("caution: its correlation with the target is 1.0000")


@pytest.mark.parametrize(("label", "loss", "outputs"), [
    (np.array(["a", "b", "c"] * 20), "softmax_cross_entropy", 3), (np.arange(60) % 2 == 1, "binary_cross_entropy", 1),
    (np.arange(60) % 3 * 10, "softmax_cross_entropy", 3), (np.arange(60), "mean_squared_error", 1),
    (np.arange(60) % 2 * 0.5, "mean_squared_error", 1), (np.zeros((60, 2)), "mean_squared_error", 2),
])  # fmt: skip
def test_the_target_decides_about_loss_and_outputs(tmp_path: Path, label: Any, loss: str, outputs: int) -> None:
    job = suggest(write(tmp_path / "a.parquet", {"a": np.arange(60) * 0.5, "label": label}), "label")
    assert (job["loss"], job["model"][-1]) == (loss, {"dense": outputs})
    assert prepared(job).targets.outputs == outputs


def test_a_target_that_is_not_there_and_data_without_features_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"same": np.ones(9), "label": np.arange(9)})
    with pytest.raises(DataError, match="did you mean `label`"):
        suggest(path, "labels")
    with pytest.raises(DataError, match="the same in every row"):
        suggest(path, "label")
