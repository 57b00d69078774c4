"""Files, folders, globs and samples: which rows, in which order, as which types."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distprop.data.cachedir import cache_folder, write_whole
from distprop.data.columns import Column
from distprop.data.decoding import decode, describe
from distprop.data.source import open_source
from distprop.errors import DataError
from tests.data.made import numbered, write


def test_folders_are_read_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "_temporary").mkdir()
    for name in ("c.parquet", "a.parquet", "b/x.pq", "_hidden.parquet", ".part.parquet", "_temporary/t.parquet"):
        numbered(tmp_path / name, 9)
    (tmp_path / "notes.txt").write_text("no rows")
    source = open_source(str(tmp_path))
    assert [Path(file).name for file in source.files] == ["a.parquet", "x.pq", "c.parquet"]
    assert source.rows == 27
    assert [group.first_row for group in source.row_groups] == [0, 7, 9, 16, 18, 25]
    assert [source.group_at(row) for row in (0, 6, 7, 8, 9, 26)] == [0, 0, 1, 1, 2, 5]


def test_globs_lists_and_uris_name_the_same_rows(tmp_path: Path) -> None:
    paths = [numbered(tmp_path / f"{name}.parquet", 5) for name in "ba"]
    (tmp_path / "deep").mkdir()
    numbered(tmp_path / "deep" / "c.parquet", 5)
    wanted = open_source(paths).files
    assert open_source(str(tmp_path / "[ab].parquet")).files == wanted
    assert open_source(str(tmp_path / "?.parquet")).files == wanted
    assert open_source(f"file://{tmp_path}/*.parquet").files == wanted
    assert len(open_source(str(tmp_path / "**" / "*.parquet")).files) == 3


def test_a_source_travels(tmp_path: Path) -> None:
    source = open_source(numbered(tmp_path / "a.parquet", 20))
    again = pickle.loads(pickle.dumps(source))
    assert again.read(2, ["id"]).column("id").to_pylist() == list(range(14, 20))
    assert again.place(2) == f"row group 2 of {tmp_path / 'a.parquet'}"


def test_a_file_replaced_by_another_is_noticed(tmp_path: Path) -> None:
    source = open_source(numbered(tmp_path / "a.parquet", 20))
    numbered(tmp_path / "a.parquet", 20, group=5)
    with pytest.raises(DataError, match="has 5 rows, not 7"):
        source.read(0, ["id"])


SAMPLES = [
    ("digits", 1797, "image", (8, 8, 1), 10), ("breast_cancer", 569, "mean_radius", (), 2),
    ("wine", 178, "alcohol", (), 3), ("diabetes", 442, "bmi", (), 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "column", "shape", "classes"), SAMPLES)
def test_samples_are_made_once_and_mixed(name: str, rows: int, column: str, shape: Any, classes: int) -> None:
    source = open_source(f"sample://{name}")
    made = Path(source.files[0]).stat().st_mtime_ns
    assert source.rows == rows
    found = describe(source.schema.field(column))
    assert found is not None
    assert found.shape == shape
    if classes:
        first = source.read(0, ["label"]).column("label").to_pylist()
        assert set(first) == set(range(classes))
    assert open_source(f"sample://{name}/").files == source.files
    assert Path(source.files[0]).stat().st_mtime_ns == made
    assert [file.name for file in (cache_folder() / "samples").glob(".*")] == []


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "new" / "a.parquet", fail)
    assert list((tmp_path / "new").iterdir()) == []


VALUES = np.arange(12)
TYPES: list[tuple[str, pa.Array, Column]] = [
    ("bool", pa.array(VALUES % 2 == 1), Column("c", "number", "uint8")),
    ("int8", pa.array(VALUES, pa.int8()), Column("c", "number", "int8")),
    ("half", pa.array(VALUES.astype(np.float16)), Column("c", "number", "float16")),
    ("decimal", pa.array(VALUES).cast(pa.decimal128(24, 2)), Column("c", "number", "float64")),
    ("dictionary", pa.array(VALUES % 3).dictionary_encode(), Column("c", "number", "int64")),
    ("list", pa.array([[v, v + 1] for v in VALUES], pa.list_(pa.int16(), 2)), Column("c", "list", "int16", (2,))),
    ("nested", pa.array([[[v], [2]] for v in VALUES], pa.list_(pa.list_(pa.int16(), 1), 2)),
     Column("c", "list", "int16", (2, 1))),
    ("tensor", pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(72.0).reshape(12, 2, 3)),
     Column("c", "list", "float64", (2, 3))),
]  # fmt: skip


@pytest.mark.parametrize(("array", "column"), [case[1:] for case in TYPES], ids=[case[0] for case in TYPES])
def test_columns_of_every_type_are_read_as_they_were_written(tmp_path: Path, array: pa.Array, column: Column) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"c": array}), path, row_group_size=5)
    source = open_source(str(path))
    assert describe(source.schema.field("c")) == column
    read = [decode(column, source.read(g, ["c"]).column("c"), "here") for g in range(3)]
    expected = array.to_numpy_ndarray() if column.shape == (2, 3) else np.array(array.to_pylist(), dtype=float)
    assert np.array_equal(np.concatenate(read).astype(float), expected.reshape(12, *([-1] if column.shape else [])))


def test_text_is_the_same_however_it_is_stored() -> None:
    words = ["elm", "oak", None, "elm"]
    column = Column("c", "text", "text", missing=True)
    stored = [pa.array(words), pa.array(words, pa.large_string()), pa.array(words).dictionary_encode()]
    read = [decode(column, pa.chunked_array([array]), "here") for array in stored]
    assert all(np.array_equal(one, read[0]) for one in read)
    assert read[0][0] == read[0][3] != read[0][1]
    assert read[0][2] == 0


@pytest.mark.parametrize("text", ["[2, 3]", "(2,3)", "2,3", "2, 3,"])
def test_shapes_are_read_however_they_are_written(text: str) -> None:
    field = pa.field("c", pa.list_(pa.uint8(), 6), metadata={"shape": text})
    column = describe(field)
    assert column is not None
    assert column.shape == (2, 3)


@pytest.mark.parametrize("text", ["[2, 4]", "two"])
def test_shapes_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="shape"):
        describe(pa.field("c", pa.list_(pa.uint8(), 6), metadata={"shape": text}))


@pytest.mark.parametrize("kind", [pa.date32(), pa.binary(), pa.list_(pa.int8()), pa.timestamp("s"), pa.null()])
def test_types_that_cannot_be_trained_on_are_left_out_of_all(tmp_path: Path, kind: pa.DataType) -> None:
    from tests.data.made import ready

    assert describe(pa.field("c", kind)) is None
    table = pa.table({"a": np.arange(6.0), "c": pa.nulls(6, kind), "label": [0, 1] * 3})
    data = ready(write(tmp_path / "a.parquet", table))
    assert data.left_out == ("c",)
    assert data.input_shape == (1,)
