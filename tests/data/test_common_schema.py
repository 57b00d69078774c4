"""Files that were written in different ways are one data set, and what cannot be is refused where it is needed."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distprop as dp
from distprop.data.common_schema import common_type
from distprop.data.inspecting import suggest
from distprop.data.source import open_source
from distprop.errors import DataError
from tests.data.made import ready, write

ROWS = 24
LABEL = np.arange(ROWS) % 2
WHOLE = np.arange(ROWS) - 7


def folder(place: Path, *tables: pa.Table) -> str:
    place.mkdir()
    for number, table in enumerate(tables):
        write(place / f"{number}.parquet", table)
    return str(place)


def part(kind: pa.DataType | None, number: int, values: Any = WHOLE, **others: Any) -> pa.Table:
    """Eight of the rows, with column a in a type."""
    rows = slice(8 * number, 8 * number + 8)
    columns = {"a": pa.array(list(values[rows])).cast(kind) if kind else pa.array(list(values[rows]))}
    return pa.table({**columns, "label": LABEL[rows]} | others)


def digest_of(path: str, features: Any) -> str:
    job = {
        "data": {"train": path, "target": "label", "features": features, "shards": 2, "batch_size": 8},
        "model": [{"dense": 3}, "relu", {"dense": 1}], "loss": "binary_cross_entropy",
        "optimizer": {"adamw": {"learning_rate": 0.03}}, "train": {"epochs": 2}, "tracking": {"enabled": False},
    }  # fmt: skip
    return dp.train(job, inline=True).digest


MIXED = [
    ([pa.int32(), pa.int64(), pa.float64()], pa.float64()), ([pa.float64(), pa.int8(), pa.int32()], pa.float64()),
    ([pa.int8(), pa.int64(), pa.int16()], pa.int64()), ([pa.float32(), pa.float64(), pa.float32()], pa.float64()),
    ([pa.int32(), pa.decimal128(24, 2), pa.int64()], pa.float64()),
    ([pa.float32(), pa.int8(), pa.float32()], pa.float64()),
]  # fmt: skip


@pytest.mark.parametrize(("kinds", "common"), MIXED, ids=str)
def test_numbers_of_several_types_train_to_the_digest_of_uniform_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[pa.DataType], common: pa.DataType
) -> None:
    monkeypatch.chdir(tmp_path)
    mixed = folder(tmp_path / "mixed", *(part(kind, number) for number, kind in enumerate(kinds)))
    uniform = folder(tmp_path / "uniform", *(part(common, number) for number in range(3)))
    assert open_source(mixed).schema.field("a").type == common
    assert ready(mixed).digest == ready(uniform).digest
    assert digest_of(mixed, {"a": "standardize"}) == digest_of(uniform, {"a": "standardize"})


def test_columns_in_another_order_and_lists_of_other_numbers_are_the_same_data(tmp_path: Path) -> None:
    lists = [[[1, 2]] * 8, [[3, 4]] * 8]
    tables = [
        part(None, i, v=pa.array(v, pa.list_(kind, 2)))
        for i, (v, kind) in enumerate(zip(lists, (pa.int32(), pa.float64()), strict=True))
    ]
    uniform = [part(None, i, v=pa.array(v, pa.list_(pa.float64(), 2))) for i, v in enumerate(lists)]
    turned = tables[1].select(["v", "label", "a"])
    assert (
        ready(folder(tmp_path / "mixed", tables[0], turned)).digest == ready(folder(tmp_path / "same", *uniform)).digest
    )


@pytest.mark.parametrize("second", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
@pytest.mark.parametrize(
    "first", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.large_string())], ids=str
)
def test_text_is_text_however_each_file_stores_it(tmp_path: Path, first: pa.DataType, second: pa.DataType) -> None:
    towns = np.array(["Rome", "Oslo"])[LABEL]
    mixed = folder(tmp_path / "mixed", part(first, 0, towns), part(second, 1, towns))
    plain = folder(tmp_path / "plain", part(None, 0, towns), part(None, 1, towns))
    assert ready(mixed, features={"a": "one_hot"}).digest == ready(plain, features={"a": "one_hot"}).digest


def test_a_value_that_would_change_is_refused_with_its_file(tmp_path: Path) -> None:
    large = [2**53 + 1] * 8
    mixed = folder(tmp_path / "mixed", part(pa.float64(), 0), part(pa.int64(), 0, large))
    with pytest.raises(DataError, match=r"'a' of row group 0 of .*1\.parquet is int64, and double") as error:
        ready(mixed)
    assert "a value would change" in error.value.why


def test_validation_data_may_have_other_types_of_the_same_kind(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", part(pa.int64(), 0))
    uniform = write(tmp_path / "uniform.parquet", part(pa.int64(), 1))
    narrow = write(tmp_path / "narrow.parquet", part(pa.int16(), 1))
    wide = write(tmp_path / "wide.parquet", part(pa.float64(), 1))
    assert ready(train, valid=narrow).digest == ready(train, valid=uniform).digest
    x = [
        next(ready(train, valid=path, shards=1).reader("valid", 0).evaluation_batches(8)).x for path in (uniform, wide)
    ]
    np.testing.assert_array_equal(x[0], x[1])
    text = write(tmp_path / "text.parquet", part(None, 0, ["one"] * 8))
    with pytest.raises(DataError, match=r"'a' of data.valid \(.*text\.parquet\) is string") as error:
        ready(train, valid=text)
    assert "numbers (int64) are wanted" in error.value.why


def doubled(**columns: Any) -> pa.Table:
    """A column twice, under the name of the first one."""
    names = list(columns)
    return pa.table([*columns.values(), columns[names[0]]], names=[*names, names[0]])


UNUSABLE: list[tuple[Callable[[], list[pa.Table]], str]] = [
    (lambda: [doubled(b=WHOLE, a=WHOLE, label=LABEL)], "has it 2 times, as columns 1 and 4"),
    (lambda: [part(None, 0, b=WHOLE[:8]), part(None, 1)], "1.parquet has no such column"),
    (lambda: [part(None, 0, b=WHOLE[:8]), part(None, 1, b=["x"] * 8)], "it is int64 in"),
    (lambda: [part(None, 0, b=WHOLE[:8]), part(None, 1, b=[datetime.date(2026, 1, 1)] * 8)], "date32"),
]


@pytest.mark.parametrize(("tables", "said"), UNUSABLE, ids=[said for _, said in UNUSABLE])
def test_a_column_that_cannot_be_read_as_one_is_refused_only_where_it_is_needed(
    tmp_path: Path, tables: Callable[[], list[pa.Table]], said: str
) -> None:
    path = folder(tmp_path / "data", *tables())
    for needs in ({"features": "all"}, {"features": ["a", "b"]}, {"features": ["a"], "weight": "b"}):
        with pytest.raises(DataError, match="'b'") as error:
            ready(path, **needs)
        assert said in error.value.why
    with pytest.raises(DataError, match="'b'"):
        ready(path, "regression", features=["a"], target="b")
    with pytest.raises(DataError, match="'b'") as error:
        suggest(path, "label")
    assert said in error.value.why
    assert ready(path, features=["a"]).input_shape == (1,)


NUMBERS = [
    pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.uint64(), pa.int64(), pa.float16(), pa.float32(), pa.float64(),
]  # fmt: skip
KINDS = st.sampled_from(
    [*NUMBERS, pa.string(), pa.large_string(), pa.null(), pa.date32(), pa.list_(pa.int8()), pa.list_(pa.float64())]
)


@given(KINDS, KINDS, KINDS)
def test_common_types_do_not_depend_on_the_order_of_files(a: pa.DataType, b: pa.DataType, c: pa.DataType) -> None:
    assert common_type(a, b) == common_type(b, a)
    assert common_type(a, a) == a
    left, right = common_type(a, b), common_type(b, c)
    if left is not None and right is not None and pa.null() not in (a, b, c):
        assert common_type(left, c) == common_type(a, right)


def hive(place: Path, name: str = "label", values: Any = (0, 1)) -> str:
    for number, value in enumerate(values):
        (place / f"{name}={value}").mkdir(parents=True)
        write(place / f"{name}={value}" / "part.parquet", {"a": np.arange(12.0) + 100 * number})
    return str(place)


def test_the_names_of_folders_are_a_column(tmp_path: Path) -> None:
    data = ready(hive(tmp_path / "data"), shards=1)
    assert data.features.columns[0].name == "a"
    assert [data.targets.column.dtype, data.targets.classes] == ["int64", (0, 1)]
    y = next(data.reader("train", 0).evaluation_batches(24)).y
    assert y.tolist() == [0] * 12 + [1] * 12
    assert ready(str(tmp_path / "data" / "*" / "*.parquet"), shards=1).digest == data.digest
    assert suggest(str(tmp_path / "data"), "label")["data"]["target"] == "label"


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (("cat", "dog"), ("cat", "dog")),
        (("01", "1"), ("01", "1")),
        (("a%2Fb", "c d"), ("a/b", "c d")),
        ((-1, 7), (-1, 7)),
    ],
)
def test_folders_give_numbers_or_texts(tmp_path: Path, values: Any, classes: Any) -> None:
    assert ready(hive(tmp_path / "data", values=values), outputs=2).targets.classes == classes


def test_folders_give_nulls_and_are_no_features_unless_named(tmp_path: Path) -> None:
    path = hive(tmp_path / "data", "label", (0, 1))
    inner = tmp_path / "data" / "label=0"
    for town in ("Rome", "__HIVE_DEFAULT_PARTITION__"):
        (inner / f"town={town}").mkdir()
        write(inner / f"town={town}" / "part.parquet", {"a": np.arange(9.0)})
    for file in tmp_path.glob("data/label=*/part.parquet"):
        file.unlink()
    (tmp_path / "data" / "label=1" / "town=Oslo").mkdir()
    write(tmp_path / "data" / "label=1" / "town=Oslo" / "part.parquet", {"a": np.arange(9.0)})
    assert ready(path).left_out == ("town",)
    assert [column.name for column in ready(path, features=["*"]).features.columns] == ["a"]
    with pytest.raises(DataError, match="'town' has a null"):
        ready(path, features={"a": None, "town": "one_hot"})
    fill = [{"impute": {"value": "none", "indicator": False}}, "one_hot"]
    assert ready(path, features={"town": fill}).input_shape == (3,)


def test_a_missing_column_that_no_folder_gives_stays_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such column"):
        ready(hive(tmp_path / "data", "town", ("Rome", "Oslo")))


@pytest.mark.parametrize("loops", [1, 3])
def test_a_file_that_links_lead_to_again_is_read_once(tmp_path: Path, loops: int) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    write(tmp_path / "data" / "inner" / "a.parquet", {"a": np.arange(64.0)})
    for number in range(loops):
        (tmp_path / "data" / "inner" / f"loop{number}").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "b.parquet").symlink_to(tmp_path / "data" / "inner" / "a.parquet")
    (tmp_path / "data" / "c.parquet").hardlink_to(tmp_path / "data" / "inner" / "a.parquet")
    assert open_source(str(tmp_path / "data")).rows == 64
    assert open_source(str(tmp_path / "data" / "**" / "*.parquet")).rows == 64


def test_a_linked_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "a.parquet", {"a": np.arange(5.0)})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    assert open_source(str(tmp_path / "data")).rows == 5


def with_index(**index: Any) -> pa.Table:
    """As pandas writes a frame with an index."""
    (name, values), rows = next(iter(index.items())), {"a": np.sin(np.arange(ROWS)), "label": LABEL}
    table = pa.table({**rows, name: values})
    return table.replace_schema_metadata({"pandas": json.dumps({"index_columns": [name]})})


@pytest.mark.parametrize("index", [{"__index_level_0__": np.arange(ROWS)}, {"town": np.arange(ROWS)}], ids=str)
@pytest.mark.parametrize("spec", ["all", {"*": "standardize"}, ["*"], None])
def test_all_columns_never_means_an_index_that_pandas_keeps(tmp_path: Path, spec: Any, index: Any) -> None:
    path = write(tmp_path / "a.parquet", with_index(**index))
    assert [column.name for column in ready(path, features=spec).features.columns] == ["a"]
    (name,) = index
    assert name not in suggest(path, "label")["data"]["features"]
    assert [column.name for column in ready(path, features=[name]).features.columns] == [name]


@pytest.mark.parametrize("name", ["__null_dask_index__", "Unnamed: 0", "__index_level_1__"])
def test_nor_what_other_writers_keep(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.parquet", {"a": np.arange(12.0), name: np.arange(12), "label": LABEL[:12]})
    assert ready(path).left_out == (name,)


def test_a_frame_that_pandas_wrote_with_its_index_predicts_as_it_trained(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.sin(np.arange(ROWS)), "label": LABEL}, index=np.argsort(LABEL, kind="stable"))
    frame.to_parquet(tmp_path / "a.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "a.parquet").names
    features = ready(str(tmp_path / "a.parquet"), features={"*": "standardize"}).features
    assert features.apply(frame).shape == (ROWS, 1)
