"""Each kind of bad data ends in one error that names the place, before training starts."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from distprop.data.source import open_source
from distprop.errors import DataError
from tests.data.made import numbered, ready, write


def columns(**changed: Any) -> dict[str, Any]:
    return {"a": np.arange(20.0), "label": np.arange(20) % 2} | changed


def at(values: Any, row: int, value: Any) -> Any:
    values = np.array(values)
    values[row] = value
    return values


def test_a_nan_is_named_by_column_file_row_group_and_row(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.parquet", columns(a=at(np.arange(20.0), 16, np.nan)))
    with pytest.raises(DataError) as error:
        ready(path)
    assert all(part in error.value.what for part in ("'a'", "nan", "row 2 of row group 2", path))
    assert "impute" in error.value.fix


def test_a_null_is_named_by_column_file_row_group_and_row(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([1.0, 2.0, None] * 4), "label": [0, 1, 1] * 4})
    path = write(tmp_path / "bad.parquet", table, group=6)
    with pytest.raises(DataError) as error:
        ready(path)
    assert all(part in error.value.what for part in ("'a'", "null", "row 2 of row group 0", path))


def test_a_null_inside_a_list_is_named(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 2.0], [3.0, None]] * 6, pa.list_(pa.float32(), 2))
    with pytest.raises(DataError, match=r"'a' has a null in row 1 of row group 0"):
        ready(write(tmp_path / "bad.parquet", pa.table({"a": lists, "label": [0, 1] * 6})))


def test_a_null_fixed_size_list_is_refused(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 2.0], None] * 6, pa.list_(pa.float32(), 2))
    with pytest.raises(DataError, match="fixed-size list is null"):
        ready(write(tmp_path / "bad.parquet", pa.table({"a": lists, "label": [0, 1] * 6})))


def test_lists_of_another_length_than_their_shape_are_named(tmp_path: Path) -> None:
    table = pa.table({"a": [[1.0, 2.0], [3.0]] * 6, "label": [0, 1] * 6})
    table = table.cast(table.schema.set(0, table.schema.field("a").with_metadata({"shape": "(2,)"})))
    with pytest.raises(DataError, match="list of 1 values in row 1 of row group 0"):
        ready(write(tmp_path / "bad.parquet", table))


def test_a_nan_in_the_validation_data_is_found_too(tmp_path: Path) -> None:
    good = write(tmp_path / "good.parquet", columns())
    bad = write(tmp_path / "bad.parquet", columns(a=at(np.arange(20.0), 3, np.inf)))
    with pytest.raises(DataError, match=r"'a' has inf in row 3 of row group 0 of .*bad\.parquet"):
        ready(good, valid=bad)


def test_a_label_out_of_range_is_named_by_value_and_place(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.parquet", columns(label=at(np.arange(20) % 2, 9, 11)))
    with pytest.raises(DataError) as error:
        ready(path, outputs=10 - 1)
    assert all(part in str(error.value) for part in ("label 11", "'label'", "row 2 of row group 1", path, "12 outputs"))


def test_a_label_that_only_the_validation_data_has_is_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.parquet", columns())
    bad = write(tmp_path / "bad.parquet", columns(label=at(np.arange(20) % 2, 4, 2)))
    with pytest.raises(DataError, match=r"label 2 of the valid data .*row 4 of row group 0"):
        ready(good, valid=bad)


def test_a_log_of_what_is_not_positive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a' has 0\.0 in row 0 of row group 0"):
        ready(write(tmp_path / "bad.parquet", columns()), features={"a": "log"})


LARGE: list[tuple[Any, Any, dict[str, Any]]] = [
    (at(np.arange(20.0), 9, 1e39), None, {}),
    (at(np.arange(20.0), 9, -1e300), {"a": {"scale": 0.1}}, {}),
    (at(np.arange(20.0), 9, 1e38), {"a": {"scale": 100}}, {}),
    (at(np.arange(20.0), 9, 1e300), {"a": "standardize"}, {}),
    (at(np.zeros((20, 2)), 9, 1e39), {"a": "standardize"}, {}),
    (at(np.arange(20.0), 9, 1e39), ["b"], {"target": "a", "task": "regression"}),
    (at(np.arange(20.0), 9, 1e39), ["b"], {"weight": "a"}),
]


@pytest.mark.parametrize(("values", "features", "job"), LARGE, ids=lambda value: str(value)[:20])
@pytest.mark.filterwarnings("error")
def test_what_is_too_large_for_float32_is_named_before_training(
    tmp_path: Path, values: Any, features: Any, job: dict[str, Any]
) -> None:
    features = features or ["a"]
    path = write(tmp_path / "bad.parquet", columns(a=values, b=np.arange(20.0)))
    with pytest.raises(DataError, match=r"'a' has .*e\+?\d+ in row 2 of row group 1 of .*bad\.parquet") as error:
        ready(path, features=features, **job)
    assert ("scale" if job == {} else "divide") in error.value.fix


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "features"),
    [
        (at(np.arange(20.0), 9, 1e39), {"a": {}}),
        (at(np.arange(20.0), 9, 1e200), {"a": "standardize"}),
        (at(np.arange(20.0), 9, -1e300), {"a": {}}),
    ],
)
def test_the_advice_about_a_number_too_large_works_where_it_is_followed(
    tmp_path: Path, values: Any, features: Any
) -> None:
    path = write(tmp_path / "bad.parquet", columns(a=values, b=np.arange(20.0)))
    with pytest.raises(DataError, match="too large") as error:
        ready(path, features=["a"] if features == {"a": {}} else features)
    (advised,) = re.findall("`(.*)`", error.value.fix)
    assert np.isfinite(ready(path, features=YAML(typ="safe").load(advised)).reader("train", 0).batch(0, 0).x).all()


@pytest.mark.filterwarnings("error")
def test_large_numbers_that_are_standardized_train(tmp_path: Path) -> None:
    path = write(tmp_path / "large.parquet", columns(a=np.arange(20.0) * 1e100))
    batch = ready(path, features={"a": "standardize"}).reader("train", 0).batch(0, 0)
    assert np.abs(batch.x).max() < 2


@pytest.mark.parametrize("unknown", ["error", "ignore", "own"])
def test_a_category_that_training_has_not_is_an_error_unless_the_recipe_says_what_it_becomes(
    tmp_path: Path, unknown: str
) -> None:
    good = write(tmp_path / "good.parquet", columns(a=np.array(["x", "y"] * 10)))
    bad = write(tmp_path / "bad.parquet", columns(a=at(np.array(["x", "y"] * 10), 9, "z")))
    wanted = {"valid": bad, "features": {"a": {"one_hot": {"unknown": unknown}}}, "shards": 1}
    if unknown == "error":
        with pytest.raises(DataError, match=r"'a' has 'z' in row 2 of row group 1 of .*bad\.parquet") as error:
            ready(good, **wanted)
        assert "unknown: ignore" in error.value.fix
        assert "unknown: own" in error.value.fix
        return
    x = next(ready(good, **wanted).reader("valid", 0).evaluation_batches(20)).x
    assert x[9].tolist() == ([0, 0] if unknown == "ignore" else [0, 0, 1])


BAD_JOBS: list[tuple[dict[str, Any], str]] = [
    ({"target": "lable"}, "did you mean `label`"),
    ({"weight": "wieght"}, "no such column"),
    ({"shards": 21, "batch_size": 30}, "20 rows are too few for 21 shards"),
    ({"batch_size": 2}, "too small for 3 shards"),
    ({"target": "a", "features": ["label"], "outputs": 3}, "out of range"),
    ({"classes": [0, 1, 2], "outputs": 2}, "3 classes"),
    ({"classes": [0, 5]}, "is no class"),
]


@pytest.mark.parametrize(("job", "says"), BAD_JOBS)
def test_jobs_that_do_not_fit_the_data_are_refused(tmp_path: Path, job: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as error:
        ready(write(tmp_path / "a.parquet", columns()), **job)
    assert says in str(error.value)
    assert error.value.fix


def test_fractional_labels_and_lists_are_no_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns(a=np.arange(20) + 0.5, v=np.zeros((20, 2))))
    with pytest.raises(DataError, match=r"'a' has 0\.5 in row 0"):
        ready(path, target="a", features=["label"])
    with pytest.raises(DataError, match="lists of 2 values"):
        ready(path, target="v", features=["label"])


def test_text_cannot_be_a_regression_target(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns(label=np.array(["x", "y"] * 10)))
    with pytest.raises(DataError, match="string"):
        ready(path, "regression")


def test_negative_weights_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns(w=at(np.ones(20), 5, -1.0)))
    with pytest.raises(DataError, match="weight"):
        ready(path, weight="w", features=["a"])


def test_text_classes_must_be_as_many_as_the_outputs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns(label=np.array(["x", "y"] * 10)))
    with pytest.raises(DataError, match="2 different values"):
        ready(path, outputs=3)


FILLED: list[tuple[Any, Any]] = [
    (pa.array(["x", None, "y"] * 8), "one_hot"),
    (pa.array(["x", None, "y"] * 8).dictionary_encode(), "one_hot"),
    (pa.array([1.0, None, 2.0] * 8), None),
    (pa.array([[1.0, 2.0], None] * 12), None),
]


@pytest.mark.parametrize(("values", "how"), FILLED, ids=lambda value: str(getattr(value, "type", "")))
def test_the_advice_about_a_null_works_where_it_is_followed(tmp_path: Path, values: pa.Array, how: Any) -> None:
    table = pa.table({"a": values, "label": [0, 1] * 12})
    if pa.types.is_list(values.type):
        table = table.cast(table.schema.set(0, table.schema.field("a").with_metadata({"shape": "2"})))
    path = write(tmp_path / "a.parquet", table)
    with pytest.raises(DataError, match="'a' has a null") as error:
        ready(path, features={"a": how})
    advised = re.search(r"`data\.features: (.*?)`", error.value.fix)
    assert advised is not None
    assert ready(path, features=YAML(typ="safe").load(advised[1])).input_shape


def test_the_advice_about_a_null_in_codes_works_where_it_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"a": pa.array([1, None, 3] * 8), "label": [0, 1] * 12}))
    with pytest.raises(DataError, match="'a' has a null") as error:
        ready(path, features={"a": "one_hot"})
    assert "`a: [{impute: -1}, one_hot]`" in error.value.fix
    assert ready(path, features={"a": [{"impute": {"value": -1, "indicator": False}}, "one_hot"]}).input_shape == (3,)
    assert ready(path, features={"a": [{"impute": -1}, "one_hot"]}).input_shape == (4,)


def test_weights_that_are_all_zero_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns(w=np.zeros(20)))
    with pytest.raises(DataError, match=r"'w' of .* is 0 in every row"):
        ready(path, weight="w", features=["a"])


@pytest.mark.parametrize("task", ["classification", "binary"])
def test_one_hot_targets_and_those_of_one_column_are_told_what_to_give(tmp_path: Path, task: str) -> None:
    hot, single = np.eye(2)[np.arange(20) % 2], (np.arange(20) % 2)[:, None]
    for label, said in ((hot, "y.argmax(axis=1)"), (single, "y.reshape(-1)")):
        with pytest.raises(DataError, match="lists of") as error:
            ready(write(tmp_path / "a.parquet", columns(label=label)), task)
        assert said in error.value.fix
        followed = eval(said.split(";")[0], {"y": label})
        assert ready(write(tmp_path / "b.parquet", columns(label=followed)), task).targets.outputs == (
            2 if task == "classification" else 1
        )


def empty(folder: Path) -> str:
    (folder / "empty").mkdir()
    return str(folder / "empty")


def only_csv(folder: Path) -> str:
    (folder / "a.csv").write_text("a,b\n1,2\n")
    return str(folder)


def truncated(folder: Path) -> str:
    path = Path(numbered(folder / "whole.parquet", 500))
    path.write_bytes(path.read_bytes()[:-200])
    return str(path)


def delta(folder: Path) -> str:
    numbered(folder / "a.parquet", 9)
    (folder / "_delta_log").mkdir()
    (folder / "_delta_log" / "0.json").write_text(json.dumps({}))
    return str(folder)


def iceberg(folder: Path) -> str:
    (folder / "data").mkdir()
    numbered(folder / "data" / "a.parquet", 9)
    (folder / "metadata").mkdir()
    (folder / "metadata" / "v1.metadata.json").write_text(json.dumps({}))
    return str(folder)


PLACES: list[tuple[Callable[[Path], str], str]] = [
    (lambda folder: str(folder / "none.parquet"), "does not exist"),
    (lambda folder: str(folder / "*.parquet"), "no file matches"),
    (lambda _: "s4://bucket/a.parquet", "cannot open"),
    (lambda _: "sample://digit", "did you mean `digits`"),
    (lambda folder: write(folder / "none.parquet", {"a": np.zeros(0)}), "has no rows"),
    (empty, "it is empty"),
    (only_csv, "distprop import"),
    (truncated, "truncated"),
    (delta, "Delta"),
    (iceberg, "Iceberg"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), PLACES)
def test_places_without_readable_rows_are_refused(tmp_path: Path, make: Callable[[Path], str], says: str) -> None:
    with pytest.raises(DataError) as error:
        open_source(make(tmp_path))
    assert says in str(error.value)
    assert error.value.fix


def test_a_damaged_row_group_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.parquet", {"a": np.random.default_rng(0).normal(size=500)}, 100))
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"row group 0 of .*a\.parquet"):
        open_source(str(path)).read(0, ["a"])
