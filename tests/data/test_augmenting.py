"""Augmented data as training reads it: leaves are augmented, evaluations and predictions are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.data.dataset import Dataset
from distprop.data.features import Features
from distprop.errors import ConfigError
from tests.data.made import ready, write

ROWS = 40
PIXELS = np.random.default_rng(1).integers(0, 256, (ROWS, 6, 5, 1), dtype=np.uint8)
WAVES = PIXELS.reshape(ROWS, 15, 2).astype(np.float32)
ALL = [{"flip": "horizontal"}, {"crop": {"height": 4, "width": 3}}, {"shift": 1}, {"noise": 0.01}]


def data(tmp_path: Path, augment: Any = ALL, features: Any = ("image",), **more: Any) -> Dataset:
    columns = {"image": PIXELS, "wave": WAVES, "age": np.arange(ROWS) * 0.5, "tree": np.array(["oak", "elm"] * 20),
               "label": np.arange(ROWS) % 2}  # fmt: skip
    features = features if isinstance(features, dict) else list(features)
    return ready(write(tmp_path / "a.parquet", columns), augment=augment, features=features, **more)


def test_leaves_are_augmented_alike_by_any_reader_and_other_ones_otherwise(tmp_path: Path) -> None:
    augmented = data(tmp_path)
    assert augmented.input_shape == (4, 3, 1)
    reader = augmented.reader("train", 1)
    leaves = {(e, s): reader.batch(e, s).x.tobytes() for e in range(2) for s in range(augmented.train_plan.steps(1))}
    again = data(tmp_path).reader("train", 1)
    assert all(again.batch(*at).x.tobytes() == leaf for at, leaf in reversed(leaves.items()))
    assert len(set(leaves.values())) == len(leaves)


def test_steps_are_counted_over_the_whole_job(tmp_path: Path) -> None:
    """Equal rows in two epochs are not augmented alike."""
    same = ready(write(tmp_path / "b.parquet", {"v": np.ones((6, 4, 2)), "label": np.arange(6) % 2}),
                 augment=[{"noise": 1.0}], features=["v"], shards=1, batch_size=6)  # fmt: skip
    reader = same.reader("train", 0)
    assert len({reader.batch(epoch, 0).x.tobytes() for epoch in range(5)}) == 5


def test_receipts_and_labels_are_those_of_the_stored_rows(tmp_path: Path) -> None:
    plain, augmented = data(tmp_path, augment=[]), data(tmp_path)
    for shard in range(3):
        a, b = plain.reader("train", shard).batch(1, 0), augmented.reader("train", shard).batch(1, 0)
        assert (a.receipt, a.y.tolist()) == (b.receipt, b.y.tolist())
    assert augmented.train_receipt == plain.train_receipt


def test_evaluations_and_predictions_see_the_centre_of_whole_rows(tmp_path: Path) -> None:
    augmented = data(tmp_path)
    seen = np.concatenate([b.x for v in range(3) for b in augmented.reader("train", v).evaluation_batches(7)])
    assert np.array_equal(seen, PIXELS[:, 1:5, 1:4].astype(np.float32))
    again = Features.from_json(augmented.features.to_json())
    assert again.input_shape == (4, 3, 1)
    assert np.array_equal(again.apply(PIXELS), seen)


def test_stored_rows_stay_as_they_are(tmp_path: Path) -> None:
    """Floats that need no preprocessing are seen through views of the rows in memory."""
    augmented = data(tmp_path, [{"shift": 2}, {"noise": 0.5}, {"amplitude": 0.5}], ["wave"], shards=1)
    reader = augmented.reader("train", 0)
    for step in range(3):
        reader.batch(0, step)
    seen = np.concatenate([b.x for b in reader.evaluation_batches(ROWS)])
    assert np.array_equal(seen, WAVES)


def test_noise_is_in_the_units_of_the_scaled_feature(tmp_path: Path) -> None:
    plain = data(tmp_path, [], {"image": {"scale": 1 / 255}}, shards=1, batch_size=40)
    noisy = data(tmp_path, [{"noise": 0.2}], {"image": {"scale": 1 / 255}}, shards=1, batch_size=40)
    off = noisy.reader("train", 0).batch(0, 0).x - plain.reader("train", 0).batch(0, 0).x
    assert np.std(off) == pytest.approx(0.2, rel=0.1)


def test_numbers_beside_each_other_may_be_noisy(tmp_path: Path) -> None:
    noisy = data(tmp_path, [{"noise": 0.1}], ["age", "wave"], shards=1)
    assert noisy.reader("train", 0).batch(0, 0).x.shape == (8, 31)


WRONG: list[tuple[Any, Any, str]] = [
    ([{"flop": "horizontal"}], ["image"], "did you mean `flip`"),
    (["flip"], ["image"], "one `- name: settings` a line"),
    ([{"flip": "horizontal", "shift": 2}], ["image"], "one `- name: settings` a line"),
    ([{"flip": "sideways"}], ["image"], "horizontal or vertical"),
    ([{"flip": {"axis": "vertical", "probability": 2}}], ["image"], "at most 1"),
    ([{"flip": {"probability": 0.5}}], ["image"], "axis is missing"),
    ([{"shift": 1.5}], ["image"], "whole numbers"), ([{"shift": 5}], ["image"], "nothing of some rows"),
    ([{"shift": {"pixels": 1, "filling": "edge"}}], ["image"], "'filling'"),
    ([{"crop": 24}], ["image"], "write it as `crop: {height: 24, width: 24}`"),
    ([{"crop": {"height": 7, "width": 5}}], ["image"], "larger than"),
    ([{"crop": {"height": 3}}], ["image"], "width is missing"),
    ([{"crop": {"length": 3}}], ["image"], "a height and a width"),
    ([{"crop": {"height": 3, "width": 2}}], ["wave"], "sequences (two) to a length"),
    ([{"crop": {"length": 9}}, {"crop": {"length": 7}}], ["wave"], "two crops"),
    ([{"crop": {"length": 9}}, {"shift": 9}], ["wave"], "nothing of some rows"),
    ([{"noise": -1}], ["image"], "above 0"), ([{"amplitude": True}], ["image"], "above 0"),
    ([{"flip": "horizontal"}], ["wave"], "only images"), ([{"shift": 1}], ["image", "age"], "only one column"),
    ([{"noise": 0.1}], {"tree": "one_hot"}, "'tree' has codes"),
]  # fmt: skip


@pytest.mark.parametrize(("augment", "features", "says"), WRONG)
def test_augmentations_that_cannot_be_are_refused(tmp_path: Path, augment: Any, features: Any, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        data(tmp_path, augment, features)
    assert says in str(error.value)
    assert "data.augment" in error.value.what
    assert error.value.fix
