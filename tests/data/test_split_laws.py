"""Held-out rows: exact, by row identity, the same for any number of shards."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.data.dataset import Dataset
from distprop.errors import DataError
from tests.data.made import epoch_ids, numbered, ready, write


def held_out(data: Dataset) -> list[int]:
    plan = data.valid_plan
    assert plan is not None
    batches = [b for v in range(plan.shards) for b in data.reader("valid", v).evaluation_batches(4)]
    return [int(value) for batch in batches for value in batch.x[:, 0]]


@settings(max_examples=20, deadline=None)
@given(st.integers(15, 80), st.sampled_from([0.1, 0.25, 0.5]), st.booleans(), st.integers(1, 4), st.integers(3, 40))
def test_each_row_is_on_one_side_and_shards_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, rows: int, fraction: float, stratify: bool, shards: int, group: int
) -> None:
    path = numbered(tmp_path_factory.mktemp("rows") / "a.parquet", rows, group)
    valid = {"fraction": fraction, "stratify": stratify}
    data = ready(path, shards=shards, valid=valid, features=["id"])
    held = held_out(data)
    left = [i for shard in range(shards) for i in epoch_ids(data, 1, shard)]
    assert sorted(left + held) == list(range(rows))
    assert held == held_out(ready(path, shards=1, valid=valid, features=["id"]))
    if stratify:
        counts = [sum(i % 3 == c for i in held) for c in range(3)]
        assert counts == [int(fraction * len(range(c, rows, 3)) + 0.5) for c in range(3)]
    else:
        assert len(held) == int(fraction * rows + 0.5)


def test_text_classes_are_stratified_too(tmp_path: Path) -> None:
    ids, label = np.arange(90), np.array(["oak", "elm", "fir"] * 30)
    path = write(tmp_path / "a.parquet", {"id": ids, "label": label})
    data = ready(path, valid={"fraction": 0.2, "stratify": True}, features=["id"])
    assert [sum(i % 3 == c for i in held_out(data)) for c in range(3)] == [6, 6, 6]
    assert data.targets.classes == ("elm", "fir", "oak")


def test_what_is_learned_is_learned_from_the_training_rows(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.parquet", 80)
    data = ready(path, valid={"fraction": 0.5}, features={"id": "standardize"}, shards=1)
    batch = data.reader("train", 0)
    x = np.concatenate([batch.batch(0, s).x for s in range(data.train_plan.steps_per_epoch)])
    assert abs(float(x.mean())) < 1e-5
    assert abs(float(x.std()) - 1.0) < 1e-4


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.001])
def test_a_fraction_that_leaves_a_side_empty_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(DataError, match=r"data\.valid\.fraction"):
        ready(numbered(tmp_path / "a.parquet", 30), valid={"fraction": fraction})


def test_values_cannot_be_stratified(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stratify"):
        ready(numbered(tmp_path / "a.parquet", 30), "regression", valid={"fraction": 0.1, "stratify": True})
