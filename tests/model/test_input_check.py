"""The same fault of a table is refused on every way in: arrays, mappings, frames, Arrow, pyfunc, the command line."""

import datetime
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from distprop.cli import kernel, main
from distprop.data.columns import Column
from distprop.data.features import Feature, Features
from distprop.data.targets import Targets
from distprop.data.transforms import Transform
from distprop.errors import DataError
from distprop.model import Model
from tests.model.cases import images, make

ROWS = 5
AGES = [20.0, 30.0, 40.0, 50.0, 60.0]
TOWNS = ["Rome", "Oslo", "Rome", "Oslo", "Rome"]


def model() -> Model:
    standardize = Transform("standardize", {"mean": [40.0], "std": [10.0]})
    towns = Transform("one_hot", {"values": ["Oslo", "Rome"]})
    columns = (
        Feature(Column("age", "number", "float64"), (standardize,)),
        Feature(Column("town", "text", "text"), (towns,)),
    )
    targets = Targets(Column("cost", "number", "float64"), "regression")
    return make([{"dense": 3}, "relu", {"dense": 1}], Features(columns), targets, "mean_squared_error")


def by_table(made: Model, columns: dict[str, Any]) -> Any:
    return made.predict(pa.table(columns))


def by_batch(made: Model, columns: dict[str, Any]) -> Any:
    return made.predict(pa.record_batch(columns))


def by_pandas(made: Model, columns: dict[str, Any]) -> Any:
    pandas = pytest.importorskip("pandas")
    return made.predict(pandas.DataFrame({name: pandas.Series(_plain(column)) for name, column in columns.items()}))


def by_polars(made: Model, columns: dict[str, Any]) -> Any:
    polars = pytest.importorskip("polars")
    return made.predict(polars.DataFrame(pa.table(columns)))


def by_mapping(made: Model, columns: dict[str, Any]) -> Any:
    return made.predict({name: _plain(column) for name, column in columns.items()})


def by_pyfunc(made: Model, columns: dict[str, Any]) -> Any:
    pytest.importorskip("mlflow")
    from distprop.flavor import Predictor

    pandas = pytest.importorskip("pandas")
    return Predictor(made).predict(pandas.DataFrame({name: _plain(column) for name, column in columns.items()}))


def by_command(made: Model, columns: dict[str, Any], *words: str) -> Any:
    made.save("model")
    pq.write_table(pa.table(columns), "rows.parquet")
    done = CliRunner().invoke(main, ["predict", "model", "rows.parquet", "--out", "out.parquet", *words])
    if done.exit_code == 2:
        assert not Path("out.parquet").exists()
        raise DataError(done.stderr)
    assert done.exit_code == 0, done.output
    return pq.read_table("out.parquet")["prediction"].to_numpy(zero_copy_only=False)


def _plain(column: pa.Array) -> Any:
    return column.to_numpy(zero_copy_only=False) if pa.types.is_temporal(column.type) else column.to_pylist()


WAYS = [by_table, by_batch, by_pandas, by_polars, by_mapping, by_pyfunc, by_command]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kernel, "ready", lambda *_: None)
    return tmp_path


def columns(age: Any = AGES, town: Any = TOWNS, age_type: Any = None, town_type: Any = None) -> dict[str, Any]:
    return {"age": pa.array(age, age_type), "town": pa.array(town, town_type)}


@ways
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int64(), pa.int8(), pa.decimal128(6, 2)], ids=str)
def test_numbers_of_any_type_give_the_same_predictions(way: Callable[..., Any], kind: pa.DataType) -> None:
    ages: Any = [Decimal(int(age)) for age in AGES] if pa.types.is_decimal(kind) else [int(age) for age in AGES]
    expected = model().predict({"age": AGES, "town": TOWNS})
    np.testing.assert_allclose(way(model(), columns(ages, age_type=kind)), expected, rtol=1e-6)


WHEN = [datetime.datetime(2026, 1, day + 1) for day in range(ROWS)]
KINDS = {
    "text": columns(["hello", "1", "2", "3", "4"]),
    "large text": columns(["hello", "1", "2", "3", "4"], age_type=pa.large_string()),
    "timestamp": columns(WHEN, age_type=pa.timestamp("us")),
    "duration": columns([one - WHEN[0] for one in WHEN], age_type=pa.duration("us")),
    "binary": columns([b"12345678"] * ROWS, age_type=pa.large_binary()),
    "lists": columns([[1.0, 2.0]] * ROWS),
    "a category of text": columns(pa.array(["a", "b", "a", "b", "a"]).dictionary_encode()),
    "numbers for text": columns(town=[1, 2, 1, 2, 1]),
    "booleans for text": columns(town=[True, False] * 2 + [True]),
}


@ways
@pytest.mark.parametrize("wrong", KINDS.values(), ids=KINDS)
def test_a_column_of_another_kind_is_named_with_what_is_wanted(way: Callable[..., Any], wrong: dict[str, Any]) -> None:
    name, want = (
        ("age", "numbers (float64) are wanted") if wrong["town"].type == pa.string() else ("town", "text is wanted")
    )
    with pytest.raises(DataError) as error:
        way(model(), wrong)
    assert f"column {name!r}" in str(error.value)
    assert want in str(error.value)


VALUES = {
    "inf": (columns([1.0, 2.0, float("inf"), 4.0, 5.0]), r"column 'age' has inf in row 2 of"),
    "-inf": (columns([1.0, 2.0, float("-inf"), 4.0, 5.0]), r"column 'age' has -inf in row 2 of"),
    "too large": (columns([1.0, 2.0, 3.0, 1e300, 5.0]), r"column 'age' has 1e\+300 in row 3 of"),
    "missing": (columns([1.0, 2.0, 3.0, 4.0, None]), r"column 'age' has (nan|a null) in row 4 of"),
    "unknown": (columns(town=["Rome", "Oslo", "Bonn", "Oslo", "Rome"]), r"column 'town' has 'Bonn' in row 2 of"),
    "missing text": (columns(town=["Rome", None, "Rome", "Oslo", "Rome"]), r"column 'town' has a null in row 1 of"),
}
values = pytest.mark.parametrize(("wrong", "said"), VALUES.values(), ids=VALUES)


@ways
@values
@pytest.mark.filterwarnings("error")
def test_a_bad_value_is_named_by_column_and_row(way: Callable[..., Any], wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        way(model(), wrong)


@values
def test_asked_to_the_command_writes_null_for_bad_rows_and_counts_them(wrong: dict[str, Any], said: str) -> None:
    model().save("model")
    pq.write_table(pa.table(wrong), "rows.parquet")
    words = ["predict", "model", "rows.parquet", "--out", "out.parquet", "--on-bad-rows", "null", "--keep", "town"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "5 predictions in out.parquet, 1 of them null" in done.stdout
    assert re.search(said, done.stderr)
    out = pq.read_table("out.parquet")
    bad = out["prediction"].is_null().to_pylist().index(True)
    good = [row for row in range(ROWS) if row != bad]
    expected = model().predict(pa.table(wrong).take(good))
    np.testing.assert_allclose(out["prediction"].take(good).to_numpy(), expected, rtol=1e-6)
    assert out["town"].equals(pa.chunked_array([wrong["town"]]))


def test_null_rows_are_null_in_probabilities_and_in_lists_of_values() -> None:
    numbers = Features((Feature(Column("a", "number", "float64")),))
    binary = make(
        [{"dense": 1}], numbers, Targets(Column("y", "number", "int64"), "binary", (0, 1)), "binary_cross_entropy"
    )
    several = Targets(Column("y", "list", "float64", (2,)), "regression")
    pq.write_table(pa.table({"a": [1.0, float("inf"), 3.0]}), "rows.parquet")
    for made, words in ((binary, ["--proba"]), (make([{"dense": 2}], numbers, several, "mean_squared_error"), [])):
        made.save("model")
        done = CliRunner().invoke(
            main, ["predict", "model", "rows.parquet", "--out", "out.parquet", "--on-bad-rows", "null", *words]
        )
        assert done.exit_code == 0, done.output
        out = pq.read_table("out.parquet")
        for column in out.columns:
            assert column.is_null().to_pylist() == [False, True, False]
    assert out["prediction"][0].as_py() == pytest.approx(made.predict({"a": [1.0]})[0].tolist())


def test_a_finite_row_of_which_float32_makes_infinity_is_refused() -> None:
    made = make(
        [{"dense": 2}, {"dense": 1}],
        Features((Feature(Column("a", "number", "float64")),)),
        Targets(Column("y", "number", "float64"), "regression"),
        "mean_squared_error",
    )
    large = Model(made.layers, made.input_shape, made.flat * 1e30, made.features, made.targets, made.loss)
    with pytest.raises(DataError, match="no finite answer to row 1 of the data given"):
        large.predict({"a": [0.0, 1e30]})


SHAPES: list[tuple[Any, str]] = [
    (np.zeros((2, 3, 4), np.uint8), "shape (3, 4)"),
    (np.zeros((2, 11), np.uint8), "shape (11,)"),
    ([np.zeros(12), np.zeros(11)], "different shapes"),
    (pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 3, 4), np.uint8))}), "shape (3, 4)"),
    (pa.table({"image": [[0] * 12, [0] * 11]}), "list of 11 values in row 1"),
    (pa.table({"image": [["a"] * 12]}), "numbers (uint8) of shape (4, 3) are wanted"),
    (np.full((2, 4, 3), "a"), "<U1"),
    (np.float32(3), "numpy.float32"),
    ({"image": np.float32(3)}, "single value"),
]


@pytest.mark.parametrize(("wrong", "said"), SHAPES, ids=[said for _, said in SHAPES])
def test_values_of_another_shape_are_refused(wrong: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        images().predict(wrong)
    assert said in str(error.value)
    assert error.value.fix


def test_an_axis_of_size_one_need_not_be_there() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    expected = images().predict_raw(pixels)
    for dress in (pixels[..., None], pixels.reshape(2, 12), pixels.reshape(2, 1, 4, 3)):
        np.testing.assert_array_equal(images().predict_raw(dress), expected)


def test_columns_of_unequal_length_or_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="age has 5, town has 4"):
        model().predict({"age": AGES, "town": TOWNS[:4]})
    with pytest.raises(DataError, match="'age' is there 2 times"):
        model().predict(pa.table([AGES, TOWNS, AGES], names=["age", "town", "age"]))


def test_a_masked_value_is_a_missing_one() -> None:
    with pytest.raises(DataError, match=r"'age' has nan in row 1 of"):
        model().predict({"age": np.ma.masked_array(AGES, mask=[0, 1, 0, 0, 0]), "town": TOWNS})


@pytest.mark.parametrize(
    "given", [{"age", "town"}, "rows.parquet", 7, None, object()], ids=lambda one: type(one).__name__
)
def test_what_is_no_table_is_refused_with_those_that_are_known(given: Any) -> None:
    with pytest.raises(DataError, match="cannot read a") as error:
        model().predict(given)
    assert "pandas or polars frame" in error.value.fix


def test_rows_that_are_mappings_and_a_column_by_itself_are_tables() -> None:
    expected = model().predict({"age": AGES, "town": TOWNS})
    rows = [{"age": age, "town": town} for age, town in zip(AGES, TOWNS, strict=True)]
    np.testing.assert_array_equal(model().predict(rows), expected)
    np.testing.assert_array_equal(model().predict([list(row.values()) for row in rows]), expected)
    with pytest.raises(DataError, match=r"'age' has nan in row 1 of"):
        model().predict([rows[0], {"town": "Rome"}])
    alone = make(
        [{"dense": 1}],
        Features((Feature(Column("a", "number", "float64")),)),
        Targets(Column("y", "number", "float64"), "regression"),
        "mean_squared_error",
    )
    for column in (AGES, pa.array(AGES), pa.chunked_array([AGES]), pytest.importorskip("pandas").Series(AGES)):
        np.testing.assert_array_equal(alone.predict(column), alone.predict(np.array(AGES)))
    with pytest.raises(DataError, match=r"'a' has inf in row 1 of"):
        alone.predict([1.0, 10**400])


def test_a_frame_with_one_odd_cell_or_a_column_twice_is_named_by_column() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": AGES, "town": TOWNS}).astype(object)
    np.testing.assert_array_equal(model().predict(frame), model().predict({"age": AGES, "town": TOWNS}))
    frame.loc[2, "age"] = "oops"
    with pytest.raises(DataError, match=r"'age' of the data given is partly str \('oops'\)") as error:
        model().predict(frame)
    assert "numbers (float64) are wanted" in error.value.why
    with pytest.raises(DataError, match="'age' is there 2 times"):
        model().predict(pandas.concat([frame, frame[["age"]]], axis=1))


@pytest.mark.parametrize(("name", "advice"), [("toarray", ".toarray()"), ("collect", ".collect()")])
def test_what_can_be_made_a_table_is_refused_with_how(name: str, advice: str) -> None:
    given = type("Other", (), {name: lambda _: None})()
    with pytest.raises(DataError, match="cannot read a") as error:
        model().predict(given)
    assert advice in error.value.fix


@pytest.mark.parametrize("kept", ["prediction", "probability_x"])
def test_a_kept_column_never_has_the_name_of_a_prediction(kept: str) -> None:
    model().save("model")
    pq.write_table(pa.table({**columns(), kept: AGES}), "rows.parquet")
    done = CliRunner().invoke(main, ["predict", "model", "rows.parquet", "--out", "out.parquet", "--keep", kept])
    assert (done.exit_code, "under such a name" in done.stderr) == (2, True)


def test_the_example_of_a_logged_model_is_one_that_it_predicts() -> None:
    pytest.importorskip("mlflow")
    from distprop.flavor import input_example

    codes = Feature(Column("code", "number", "int64"), (Transform("one_hot", {"values": [5, 6]}),))
    towns = Feature(Column("town", "text", "text"), (Transform("one_hot", {"values": ["Oslo"]}),))
    targets = Targets(Column("y", "number", "float64"), "regression")
    made = make([{"dense": 1}], Features((codes, towns)), targets, "mean_squared_error")
    assert made.predict(input_example(made)).shape == (2,)
