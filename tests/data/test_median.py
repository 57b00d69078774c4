"""Medians are exact, whoever counts, whatever the numbers are."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distprop.data.choosing import resolve_features
from distprop.data.median import find_medians
from distprop.data.part import Part
from distprop.data.source import open_source
from tests.data.made import ready, write

NUMBERS = st.floats(-1e300, 1e300) | st.integers(-3, 3).map(float)


def median_of(folder: Path, values: Any, shards: int = 3) -> float:
    path = write(folder / "a.parquet", pa.table({"a": values}), group=4)
    source = open_source(path)
    plan = resolve_features({"a": {"impute": "median"}}, [], source.schema)
    part = Part(source, tuple(feature.column for feature in plan.features))
    bounds = [(v * part.rows // shards, (v + 1) * part.rows // shards) for v in range(shards)]
    return find_medians(part, plan.features, bounds, map)["a", 0]


@given(st.lists(NUMBERS, min_size=1, max_size=12), st.integers(1, 4))
@example([-0.0, 0.0], 1)
@example([5e-324, -5e-324, 1e300], 2)
@settings(max_examples=40)
def test_the_median_is_that_of_sorting(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], shards: int
) -> None:
    ordered = sorted(values)
    expected = np.mean([ordered[(len(values) - 1) // 2], ordered[len(values) // 2]])
    assert median_of(tmp_path_factory.getbasetemp(), values, shards) == expected


@pytest.mark.parametrize(("values", "expected"), [
    (pa.array([3, None, 1, 2, None]), 2.0), (pa.array([7, 8], pa.uint8()), 7.5),
    (pa.array([None, None], pa.float32()), 0.0), (pa.array([1.5, float("nan"), 2.5, 9.0], pa.float32()), 2.5),
])  # fmt: skip
def test_missing_values_do_not_count(tmp_path: Path, values: Any, expected: float) -> None:
    assert median_of(tmp_path, values) == expected


def test_the_median_is_learned_from_the_training_rows_alone(tmp_path: Path) -> None:
    numbers = np.where(np.arange(60) % 7 == 0, np.nan, np.arange(60.0) ** 2)
    path = write(tmp_path / "a.parquet", {"a": numbers, "b": -numbers, "label": np.arange(60) % 2})
    how = {"a": {"impute": "median"}, "b": {"impute": "median"}}
    for valid in ({"fraction": 0.3}, {"fraction": 0.3, "stratify": True}):
        data = ready(path, "binary", features=how, valid=valid)
        seen = [batch.x for v in range(3) for batch in data.reader("train", v).evaluation_batches(9)]
        x = np.concatenate(seen)
        expected = np.median(x[x[:, 1] == 0, 0])
        learned = [feature.transforms[0].settings["value"] for feature in data.features.features]
        assert learned == [expected, -expected]
        again = ready(path, "binary", features=how, valid=valid)
        assert again.features == data.features, "a remembered survey says the same"
