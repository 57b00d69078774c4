"""A regression's target is learned standardized, and everything that people see of it is in its own units."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.data.columns import Column
from distprop.data.dataset import Dataset, prepare
from distprop.data.memory import from_memory
from distprop.data.moments import moments_of
from distprop.data.target_units import TargetUnits, fit_units, read_target
from distprop.data.targets import Targets
from distprop.errors import ConfigError, DataError

STANDARDIZED = {"y": "standardize"}


def prepared(room: Path, y: Any, target: Any = STANDARDIZED, **more: Any) -> Dataset:
    rows = {"x": np.arange(len(y), dtype=np.float32), "y": np.asarray(y), **more}
    path = from_memory(rows, room, "y", "train")
    weight = {"weight": "w"} if "w" in more else {}
    return prepare({"train": path, "target": target, "shards": 3, "batch_size": 5, **weight}, 1, "regression")


def learned(dataset: Dataset) -> np.ndarray:
    """The target of all training rows, in stored order, as the network learns it."""
    shards = range(dataset.train_plan.shards)
    return np.concatenate([b.y for v in shards for b in dataset.reader("train", v).evaluation_batches(4)])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(-1e9, 1e9), st.floats(1e-6, 1e6), st.integers(1, 3))
def test_what_is_learned_has_mean_0_and_spread_1_and_gives_the_target_back(seed, mean, spread, width) -> None:
    raw = mean + max(spread, 1e-7 * abs(mean)) * np.random.default_rng(seed).normal(size=(50, width))
    units = fit_units("y", read_target(STANDARDIZED)[1], moments_of(raw))
    z = units.apply(raw)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-5)
    back = z.astype(np.float64) * units.arrays[1] + units.arrays[0]
    np.testing.assert_allclose(back, raw, rtol=0, atol=1e-6 * np.abs(raw - raw.mean(axis=0)).max())


@pytest.mark.parametrize("offset", [1e5, 1e7, 1e9])
def test_the_mean_is_taken_off_before_float32_rounds(tmp_path: Path, offset: float) -> None:
    z = np.random.default_rng(0).normal(size=40)
    near, far = prepared(tmp_path / "near", z), prepared(tmp_path / "far", offset + z)
    np.testing.assert_allclose(learned(far), learned(near), atol=1e-5)


def test_whole_numbers_and_lists_are_standardized_each_value_by_itself(tmp_path: Path) -> None:
    whole = prepared(tmp_path / "whole", np.arange(20) * 1_000_000_007)
    assert learned(whole).std() == pytest.approx(1.0, rel=1e-6)
    pair = np.stack([np.arange(20.0), 1e6 - 3.0 * np.arange(20.0)], axis=1)
    both = prepared(tmp_path / "both", list(pair))
    np.testing.assert_allclose(learned(both).std(axis=0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(both.targets.spread, pair.std(axis=0), rtol=1e-12)


def test_a_constant_target_becomes_0(tmp_path: Path) -> None:
    constant = prepared(tmp_path, np.full(20, 7e8))
    assert not learned(constant).any()
    assert constant.targets.units == TargetUnits((7e8,), (1.0,))


def test_one_huge_outlier_leaves_finite_values(tmp_path: Path) -> None:
    y = np.zeros(100)
    y[3] = 3e38
    z = learned(prepared(tmp_path, y))
    assert np.isfinite(z).all()
    assert z.max() == pytest.approx(np.sqrt(99), rel=1e-5)


def test_statistics_count_every_row_once_whatever_it_weighs(tmp_path: Path) -> None:
    y = np.array([0.0, 2.0] * 10)
    weighted = prepared(tmp_path, y, w=np.array([1.0, 100.0] * 10))
    units = weighted.targets.units
    assert units is not None
    assert (*units.mean, *units.std) == pytest.approx((1.0, 1.0), rel=1e-12)


def test_a_row_too_far_from_those_of_training_is_named(tmp_path: Path) -> None:
    x, z = np.arange(20.0), np.random.default_rng(0).normal(size=20) * 1e-6
    train = from_memory({"x": x, "y": z}, tmp_path, "y", "train")
    valid = from_memory({"x": x, "y": np.append(z[1:], 1e35)}, tmp_path, "y", "valid")
    with pytest.raises(DataError, match=r"data\.valid"):
        prepare({"train": train, "valid": valid, "target": STANDARDIZED}, 1, "regression")


def test_a_target_is_left_as_it_is_where_the_job_says_so(tmp_path: Path) -> None:
    y = np.array([5.0, 7.0] * 10)
    for target in ("y", {"y": None}):
        as_it_is = prepared(tmp_path, y, target)
        assert learned(as_it_is).tolist() == y.tolist()
        assert as_it_is.targets.spread is None
    given = prepared(tmp_path, y, {"y": {"standardize": {"mean": 5, "std": 2}}})
    assert learned(given)[:2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("how", ["log", {"standardize": {"mean": 1}}, {"standardize": 3}, 7, ["standardize"], {"a": 1}])
def test_what_a_target_cannot_become_is_told(how: Any) -> None:
    with pytest.raises(ConfigError, match="a target is standardized or left as it is"):
        read_target({"y": how})


@pytest.mark.parametrize("std", [0, -1, float("nan"), "wide", [1, 2, 3]])
def test_a_spread_that_nothing_can_be_divided_by_is_told(tmp_path: Path, std: Any) -> None:
    with pytest.raises(ConfigError, match="std above 0"):
        prepared(tmp_path, np.arange(20.0), {"y": {"standardize": {"mean": 0, "std": std}}})


def test_units_travel_as_json_and_belong_to_values_of_a_row() -> None:
    column = Column("y", "number", "float64")
    targets = Targets(column, "regression", units=TargetUnits((2024.5,), (0.1,)))
    assert Targets.from_json(targets.to_json()) == targets
    assert "standardize" not in Targets(column, "regression").to_json()
    with pytest.raises(ValueError, match="have not 2 values"):
        Targets(column, "regression", units=TargetUnits((0.0, 0.0), (1.0, 1.0)))


def test_a_table_of_arrow_integers_of_64_bits_keeps_its_differences(tmp_path: Path) -> None:
    y = pa.array([2**52 + 3 * i for i in range(20)], pa.int64())
    z = learned(prepared(tmp_path, y.to_numpy()))
    np.testing.assert_allclose(np.diff(z), np.diff(z)[0], rtol=1e-4)
