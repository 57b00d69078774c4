"""Foreign files become Parquet that trains as it is; nothing half-written is left."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from distprop.data.importing import import_data
from distprop.data.inspecting import suggest
from distprop.errors import AccessError, DataError
from tests.data.made import ready

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 3), dtype=np.uint8)
LABELS = (np.arange(20) % 2).astype(np.uint8)


def idx(path: Path, values: NDArray[Any]) -> Path:
    content = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def mnist_like(folder: Path) -> Path:
    idx(folder / "train-images-idx3-ubyte.gz", IMAGES)
    idx(folder / "train-labels-idx1-ubyte.gz", LABELS)
    idx(folder / "t10k-images-idx3-ubyte", IMAGES[:5])
    idx(folder / "t10k-labels-idx1-ubyte", LABELS[:5])
    return folder


def images_of(path: Path) -> NDArray[Any]:
    table = pq.read_table(path)
    return np.array(table.column("image").to_pylist(), dtype=np.uint8).reshape(len(table), 4, 3, -1)


def test_idx_files_become_train_and_test(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    written = import_data(mnist_like(source), tmp_path / "out")
    assert [path.name for path in written] == ["test.parquet", "train.parquet"]
    assert np.array_equal(images_of(written[1])[..., 0], IMAGES)
    data = ready(str(written[1]), features={"image": {"scale": 1 / 255}}, test=str(written[0]))
    assert data.input_shape == (4, 3, 1)


def test_npz_files_become_train_and_test(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=LABELS[:, None], test_x=IMAGES[:5], test_y=LABELS[:5])
    test, train = import_data(tmp_path / "set.npz", tmp_path / "out")
    assert ready(str(train), target="y", features={"x": {"scale": 1 / 255}}, test=str(test)).input_shape == (4, 3)


def test_an_npz_without_splits_becomes_one_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=IMAGES, y=LABELS)
    (path,) = import_data(tmp_path / "set.npz", tmp_path / "out")
    assert path.name == "set.parquet"
    assert pq.read_table(path).column_names == ["x", "y"]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.csv.gz"])
def test_csv_files_keep_their_types(tmp_path: Path, name: str) -> None:
    text = "age,town,label\n" + "".join(f"{i}.5,{'ab'[i % 2]},{i % 2}\n" for i in range(12)) + ",a,1\n"
    content = text.replace(",", "\t") if ".tsv" in name else text
    (tmp_path / name).write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    (path,) = import_data(tmp_path / name, tmp_path / "out")
    assert path.name == "rows.parquet"
    assert [str(kind) for kind in pq.read_schema(path).types] == ["double", "string", "int64"]
    job = suggest(str(path), "label")
    assert job["data"]["features"] == {"age": [{"impute": "mean"}, "standardize"], "town": "one_hot"}
    assert ready(str(path), "binary", 1, features=job["data"]["features"]).input_shape == (4,)


STREAMED = [
    ["1", "2", "0.5"], ["", "", "7"], ["1", "x", "2"], ["1", "true", "0"], ["2020-01-01", "", "2020-01-01 10:00:00"],
    ["", "", ""], ["1.5", "oak", ""], ["10:00:00", "1", "2"], ["0.5", "1e3", "nan"], ["true", "false", "maybe"],
]  # fmt: skip


@pytest.mark.parametrize("values", STREAMED, ids=lambda values: " then ".join(values))
def test_csv_read_in_blocks_has_the_types_of_csv_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[str]
) -> None:
    monkeypatch.setattr("distprop.data.csv_files.BLOCK_BYTES", 64)
    lines = [f"{value},{i}" for value in values for i in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *lines]))
    (path,) = import_data(tmp_path / "rows.csv", tmp_path / "out")
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    pq.write_table(pyarrow.csv.read_csv(tmp_path / "rows.csv", convert_options=options), tmp_path / "whole.parquet")
    assert pq.read_table(path).equals(pq.read_table(tmp_path / "whole.parquet"))


def test_imported_csv_has_row_groups_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distprop.data.csv_files.BLOCK_BYTES", 256)
    monkeypatch.setattr("distprop.data.importing.ROWS_PER_GROUP", 30)
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *(f"{i},{i % 2}" for i in range(100))]))
    (path,) = import_data(tmp_path / "rows.csv", tmp_path / "out")
    footer = pq.read_metadata(path)
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [30, 30, 30, 10]


def test_csv_that_breaks_late_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distprop.data.csv_files.BLOCK_BYTES", 64)
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "rows.parquet"
    kept.write_bytes(b"from before")
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *["1,2"] * 200, "1,2,3"]))
    with pytest.raises(DataError, match="Expected 2 columns"):
        import_data(tmp_path / "rows.csv", tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {kept: b"from before"}


def picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels).save(path)


def test_folders_of_images_become_images_with_labels(tmp_path: Path) -> None:
    for i, pixels in enumerate(IMAGES):
        picture(tmp_path / "in" / ("cat", "dog")[i % 2] / f"{i:02}.png", pixels)
    (path,) = import_data(tmp_path / "in", tmp_path / "out")
    table = pq.read_table(path)
    assert path.name == "train.parquet"
    assert sorted(image.tobytes() for image in images_of(path)) == sorted(image.tobytes() for image in IMAGES)
    known = {image.tobytes(): ("cat", "dog")[i % 2] for i, image in enumerate(IMAGES)}
    assert table.column("label").to_pylist() == [known[image.tobytes()] for image in images_of(path)]
    assert table.column("label").to_pylist() != sorted(table.column("label").to_pylist()), "classes are mixed"
    assert ready(str(path), "binary", 1, features={"image": {"scale": 1 / 255}}).targets.classes == ("cat", "dog")


def test_images_are_resized_and_split_by_folder(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "train" / "cat" / "a.png", IMAGES[0])
    picture(tmp_path / "in" / "train" / "dog" / "b.png", np.zeros((9, 9, 3), dtype=np.uint8))
    picture(tmp_path / "in" / "test" / "dog" / "c.png", IMAGES[1])
    with pytest.raises(DataError, match="one size"):
        import_data(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    written = import_data(tmp_path / "in", tmp_path / "out", size=(4, 3), grey=True)
    assert [path.name for path in written] == ["test.parquet", "train.parquet"]
    assert images_of(written[1]).shape == (2, 4, 3, 1)


def text(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("name", "content", "says"), [
    ("a.npz", b"PK\x03\x04 half", "cannot read"), ("a.csv", b"a,b\n1,2,3\n", "Expected 2 columns"),
    ("a.csv", b"a,b\n", "no rows"), ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0\0\x09", "truncated"),
    ("train-labels-idx1-ubyte", b"GIF8", "no IDX file"), ("a.xyz", b"?", "cannot tell"),
    ("train-labels-idx1-ubyte.gz", gzip.compress(b"\0" * 90, mtime=0)[:12], "cannot read"),
])  # fmt: skip
def test_files_that_cannot_be_imported_leave_nothing(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        import_data(text(tmp_path / name, content), tmp_path / "out")
    assert error.value.fix
    assert not (tmp_path / "out").exists()


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=IMAGES, y=LABELS[:7])
    with pytest.raises(DataError, match="different numbers of rows"):
        import_data(tmp_path / "set.npz", tmp_path / "out")
    idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    idx(tmp_path / "train-labels-idx1-ubyte", LABELS[:7])
    with pytest.raises(DataError, match="belong together"):
        import_data([tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"], tmp_path / "out")


def test_when_one_file_cannot_be_written_none_is_left(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (tmp_path / "out" / "train.parquet").mkdir(parents=True)
    with pytest.raises(AccessError, match=r"train.parquet cannot be written"):
        import_data(mnist_like(source), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.parquet"]
