"""What columns become: each transform against its formula, alone and in chains."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from distprop.data.dataset import Dataset
from distprop.data.features import Features
from distprop.data.moments import merge_moments, moments_of
from distprop.data.transforms import EXAMPLES, TRANSFORMS
from distprop.errors import DataError
from tests.data.made import ready, write

ROWS = 40
RNG = np.random.default_rng(3)
AGE = RNG.normal(50, 10, ROWS)
GAPS = np.where(np.arange(ROWS) % 5 == 0, np.nan, AGE)
IMAGE = RNG.integers(0, 256, (ROWS, 3, 2), dtype=np.uint8)
TREE = np.array(["oak", "elm", "fir", "oak"] * 10)
CODE = np.arange(ROWS) % 3 + 5
LABEL = np.arange(ROWS) % 2
COLUMNS = {"age": AGE, "gaps": GAPS, "image": IMAGE, "tree": TREE, "code": CODE, "label": LABEL}


def x_of(tmp_path: Path, features: Any) -> np.ndarray[Any, Any]:
    data = dataset(tmp_path, features)
    x = np.concatenate([batch.x for v in range(3) for batch in data.reader("train", v).evaluation_batches(9)])
    assert x.dtype == np.float32
    assert x.shape == (ROWS, *data.input_shape)
    assert np.array_equal(data.features.apply(COLUMNS), x), "predicting sees what training saw"
    again = Features.from_json(data.features.to_json())
    assert again == data.features
    assert np.array_equal(again.apply(pa.table({n: v for n, v in COLUMNS.items() if n != "image"}
                                               | {"image": list(IMAGE.reshape(ROWS, -1))})), x)  # fmt: skip
    return x


def dataset(tmp_path: Path, features: Any) -> Dataset:
    return ready(write(tmp_path / "a.parquet", COLUMNS), features=features)


def std(values: Any) -> Any:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def one_hot(values: Any) -> Any:
    return (values[:, None] == np.unique(values)).astype(float)


def hashed(values: Any, buckets: int) -> Any:
    """By the finalizer of splitmix64, in Python's own whole numbers."""

    def place(value: int) -> int:
        word = value * 0x9E3779B97F4A7C15 % 2**64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return (word ^ word >> 31) % buckets

    return (np.array([place(int(value)) for value in values])[:, None] == np.arange(buckets)) * 1.0


MEAN = np.nanmean(GAPS)
FILLED = np.where(np.isnan(GAPS), MEAN, GAPS)
GONE = np.isnan(GAPS)[:, None]
CASES: list[tuple[str, Any, Any]] = [
    ("as it is", {"age": None}, AGE[:, None]),
    ("scale", {"age": {"scale": 0.1}}, AGE[:, None] * 0.1),
    ("scale a list", {"image": {"scale": 1 / 255}}, IMAGE / 255),
    ("standardize", {"age": "standardize"}, std(AGE)[:, None]),
    ("standardize a list", {"image": "standardize"}, std(IMAGE.astype(float))),
    ("given standardize", {"age": {"standardize": {"mean": 1, "std": 2}}}, (AGE[:, None] - 1) / 2),
    ("log", {"age": "log"}, np.log(AGE)[:, None]),
    ("log with add", {"image": {"log": {"add": 1}}}, np.log(IMAGE + 1.0)),
    ("log, standardize", {"age": ["log", "standardize"]}, std(np.log(AGE))[:, None]),
    ("one_hot of text", {"tree": "one_hot"}, one_hot(TREE)),
    ("one_hot of codes", {"code": "one_hot"}, one_hot(CODE)),
    ("one_hot, some known", {"tree": {"one_hot": {"values": ["oak", "ash"], "unknown": "ignore"}}},
     (TREE[:, None] == ["oak", "ash"]) * 1.0),
    ("one_hot, others in a column", {"tree": {"one_hot": {"values": ["oak", "ash"], "unknown": "own"}}},
     np.stack([TREE == "oak", TREE == "ash", TREE != "oak"], axis=1) * 1.0),
    ("hash of codes", {"code": {"hash": 512}}, hashed(CODE, 512)),
    ("vocabulary", {"tree": {"vocabulary": ["fir", "oak"]}}, ((TREE == "fir") + (TREE == "oak") * 2.0)[:, None]),
    ("impute", {"gaps": {"impute": "mean"}}, np.hstack([FILLED[:, None], GONE])),
    ("impute the median", {"gaps": {"impute": {"value": "median", "indicator": False}}},
     np.where(np.isnan(GAPS), np.nanmedian(GAPS), GAPS)[:, None]),
    ("log, impute the median", {"gaps": ["log", {"impute": "median"}]},
     np.hstack([np.log(np.where(np.isnan(GAPS), np.exp(np.nanmedian(np.log(GAPS))), GAPS))[:, None], GONE])),
    ("impute a value", {"gaps": {"impute": {"value": 7, "indicator": False}}},
     np.where(np.isnan(GAPS), 7, GAPS)[:, None]),
    ("impute, standardize", {"gaps": ["impute", "standardize"]},
     np.hstack([(FILLED[:, None] - MEAN) / np.nanstd(GAPS), GONE])),
    ("pad", {"image": {"pad": 2}}, IMAGE[:, :2]),
    ("pad, scale", {"image": [{"pad": {"length": 4, "keep": "last"}}, {"scale": 2}]},
     np.pad(IMAGE, ((0, 0), (0, 1), (0, 0))) * 2.0),
    ("several", {"image": {"scale": 0.5}, "co*": None, "tree": "one_hot"},
     np.hstack([IMAGE.reshape(ROWS, -1) * 0.5, CODE[:, None], one_hot(TREE)])),
]  # fmt: skip


@pytest.mark.parametrize(("features", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_columns_become_what_the_formula_says(tmp_path: Path, features: Any, expected: Any) -> None:
    assert_allclose(x_of(tmp_path, features), expected, rtol=2e-6, atol=2e-6)


def test_every_transform_has_a_case_and_an_example() -> None:
    named = " ".join(case[0] for case in CASES)
    assert all(kind in named for kind in TRANSFORMS)
    assert EXAMPLES.keys() == TRANSFORMS.keys()


def test_a_constant_column_standardizes_to_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"same": np.full(12, 0.1), "label": np.arange(12) % 2})
    batch = ready(path, features={"same": "standardize"}).reader("train", 0).batch(0, 0)
    assert np.abs(batch.x).max() < 1e-6


def test_missing_text_is_a_category_where_it_is_filled(tmp_path: Path) -> None:
    table = pa.table({"tree": ["oak", None, "elm", None] * 3, "label": [0, 1, 0, 1] * 3})
    fill = [{"impute": {"value": "none", "indicator": False}}, {"one_hot": {"unknown": "ignore"}}]
    data = ready(write(tmp_path / "a.parquet", table), features={"tree": fill})
    assert data.features.features[0].transforms[-1].settings["values"] == ["elm", "none", "oak"]
    assert_allclose(data.features.apply({"tree": [None, "oak", "ash"]}), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])


def test_nulls_in_whole_numbers_and_lists_are_filled(tmp_path: Path) -> None:
    table = pa.table({
        "n": pa.array([1, None, 3] * 4),
        "v": pa.array([[1, 2], None, [3, None]] * 4, pa.list_(pa.uint8())),
        "label": [0, 1, 1] * 4,
    })  # fmt: skip
    table = table.cast(table.schema.set(1, table.schema.field("v").with_metadata({"shape": "2"})))
    fill = {"impute": {"value": "mean", "indicator": False}}
    data = ready(write(tmp_path / "a.parquet", table), features={"n": fill, "v": fill}, shards=1)
    x = next(data.reader("train", 0).evaluation_batches(3)).x
    assert_allclose(x, [[1, 1, 2], [2, 2, 2], [3, 3, 2]])


@given(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), min_size=1, max_size=30), st.integers(0, 30))
def test_moments_of_parts_merge_to_those_of_the_whole(values: list[float], cut: int) -> None:
    x = np.array(values)[:, None]
    whole, merged = moments_of(x), merge_moments(moments_of(x[:cut]), moments_of(x[cut:]))
    assert_allclose(merged.count, whole.count)
    assert_allclose(merged.mean, whole.mean, rtol=1e-9, atol=1e-6)
    assert_allclose(merged.std, whole.std, rtol=1e-6, atol=1e-5)
    assert_allclose([merged.low, merged.high], [whole.low, whole.high])


BAD = [
    ({"tree": None}, "text"), (["tree"], "one_hot"), ("all", "text"), ({"agee": None}, "did you mean"),
    ({"age": "one_hot"}, "float64"), ({"age": "sclae"}, "no transform"), ({"age": {"scale": "much"}}, "scale: 0.1"),
    ({"tree": "standardize"}, "text"), ({"tree": ["one_hot", "scale"]}, "data.features.tree"),
    ({"tree": {"one_hot": {"unknown": "guess"}}}, "error, ignore, own"), ({"tree": {"hash": 1}}, "2 or more"),
    ({"age": {"hash": 9}}, "float64"), ({"tree": {"one_hot": ["oak", "elm"]}}, "unknown: ignore"),
    ({"label": None}, "target"), ({"gaps": ["standardize", "impute"]}, "first"),
    ({"tree": ["impute", "one_hot"]}, "no mean"), ({"gaps": {"impute": "nothing"}}, "no number"),
    ({"tree": [{"impute": "median"}, "one_hot"]}, "no median"), ({"image": {"impute": "median"}}, "single numbers"),
    ({"age": {"log": {"base": 2}}}, "base"), ({"z*": None}, "z*"),
]  # fmt: skip


@pytest.mark.parametrize(("features", "says"), BAD)
def test_features_that_cannot_be_are_refused(tmp_path: Path, features: Any, says: str) -> None:
    with pytest.raises(DataError) as error:
        dataset(tmp_path, features)
    assert says in str(error.value)
    assert error.value.fix


def test_predicting_without_a_column_or_with_another_shape_is_refused(tmp_path: Path) -> None:
    features = dataset(tmp_path, {"age": "standardize", "image": {"scale": 1.0}}).features
    with pytest.raises(DataError, match="'image' is missing"):
        features.apply({"age": AGE})
    with pytest.raises(DataError, match="shape"):
        features.apply({"age": AGE, "image": IMAGE[:, :2]})
    with pytest.raises(DataError, match="cannot tell columns"):
        features.apply(np.zeros((3, 5)))


def test_one_array_is_taken_for_the_only_column_or_for_columns_in_order(tmp_path: Path) -> None:
    pixels = dataset(tmp_path, {"image": {"scale": 0.5}}).features
    assert_allclose(pixels.apply(IMAGE), IMAGE * 0.5)
    assert_allclose(pixels.apply(IMAGE.reshape(ROWS, -1)), IMAGE * 0.5)
    numbers = dataset(tmp_path, ["age", "code"]).features
    assert_allclose(numbers.apply(np.stack([AGE, CODE], axis=1)), np.stack([AGE, CODE], axis=1), rtol=1e-6)
