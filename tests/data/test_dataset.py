"""The front door: what a job's data section gives the runtime."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distprop.data.cachedir import cache_folder
from distprop.data.dataset import prepare
from distprop.data.memory import from_memory
from distprop.data.part import GroupCache
from distprop.errors import DataError
from tests.data.made import epoch_ids, numbered, ready, shared, write


def test_a_dataset_travels_without_rows_and_reads_the_same(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 900, 300), features={"image": {"scale": 0.5}})
    data.reader("train", 0).batch(0, 0)
    sent = pickle.dumps(data)
    assert len(sent) < 6_000
    again = pickle.loads(sent)
    assert np.array_equal(again.reader("train", 1).batch(2, 1).x, data.reader("train", 1).batch(2, 1).x)
    assert again.digest == data.digest
    assert again.input_shape == (2, 3)


def test_digests_follow_the_rows_and_not_the_test_rows(tmp_path: Path) -> None:
    a, b = numbered(tmp_path / "a.parquet", 30), numbered(tmp_path / "b.parquet", 30, group=4)
    c = numbered(tmp_path / "c.parquet", 31)
    assert ready(a).digest == ready(b).digest == ready(a, test=c).digest
    assert len({ready(a).digest, ready(c).digest, ready(a, valid=c).digest}) == 3
    assert len(ready(a).digest) <= 36


def test_used_says_what_is_recorded_of_each_split(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.parquet", 30)
    used = ready(path, valid={"fraction": 0.2}, test=path, features=["id"]).used()
    assert [one["split"] for one in used] == ["train", "valid", "test"]
    assert [one["rows"] for one in used] == [24, 6, 30]
    assert used[0]["columns"] == {"id": "int64", "label": "int32"}
    assert used[0]["source"] == path
    assert all(len(one["digest"]) <= 36 for one in used)


LABELS: list[tuple[Any, str, int | None, tuple[Any, ...], Any]] = [
    ([0, 1, 2], "classification", None, (0, 1, 2), [0, 1, 2]),
    ([0, 1, 2], "classification", 5, (0, 1, 2, 3, 4), [0, 1, 2]),
    ([3, 7, 9], "classification", 3, (3, 7, 9), [0, 1, 2]),
    ([-1, 1, 1], "binary", 1, (-1, 1), [0, 1, 1]),
    ([0.0, 1.0, 1.0], "binary", 1, (0, 1), [0, 1, 1]),
    ([False, True, True], "binary", 1, (0, 1), [0, 1, 1]),
    (["oak", "elm", "oak"], "classification", 2, ("elm", "oak"), [1, 0, 1]),
    (["oak", "elm", "oak"], "binary", 1, ("elm", "oak"), [1, 0, 1]),
]


@pytest.mark.parametrize(("labels", "task", "outputs", "classes", "expected"), LABELS)
def test_labels_become_class_numbers(
    tmp_path: Path, labels: Any, task: Any, outputs: Any, classes: Any, expected: Any
) -> None:
    path = write(tmp_path / "a.parquet", {"a": np.arange(6.0), "label": np.array(labels * 2)})
    data = ready(path, task, outputs, shards=1)
    batch = next(data.reader("train", 0).evaluation_batches(3))
    assert data.targets.classes == classes
    assert batch.y.tolist() == expected
    assert batch.y.dtype == (np.float32 if task == "binary" else np.int64)
    assert data.target_range is None
    assert type(data.targets).from_json(data.targets.to_json()) == data.targets


def test_what_is_no_class_becomes_minus_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"a": np.arange(6.0), "label": np.arange(6) % 3})
    targets = ready(path).targets
    assert targets.apply_raw(np.array([2, 3, -4, 0])).tolist() == [2, -1, -1, 0]
    assert targets.apply_raw(np.array([1.0, 0.5, np.nan])).tolist() == [1, -1, -1]


def test_classes_may_be_given_in_the_order_of_the_outputs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"a": np.arange(4.0), "label": np.array(["oak", "elm", "oak", "elm"])})
    data = ready(path, classes=["oak", "elm"], shards=1)
    assert next(data.reader("train", 0).evaluation_batches(4)).y.tolist() == [0, 1, 0, 1]


def test_regression_gives_values_and_their_range(tmp_path: Path) -> None:
    columns = {"a": np.arange(6.0), "v": np.arange(12.0).reshape(6, 2), "label": np.arange(6) * 2}
    path = write(tmp_path / "a.parquet", columns)
    data = ready(path, "regression", shards=1, features=["a"])
    batch = next(data.reader("train", 0).evaluation_batches(6))
    assert (batch.y.dtype, batch.y.tolist()) == (np.dtype("float32"), [0, 2, 4, 6, 8, 10])
    assert data.target_range == (0.0, 10.0)
    wide = ready(path, "regression", target="v", shards=1, features=["a"])
    assert next(wide.reader("train", 0).evaluation_batches(6)).y.shape == (6, 2)
    assert wide.targets.outputs == 2


def test_row_weights_come_along(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"a": np.arange(6.0), "w": np.arange(6), "label": np.arange(6) % 2})
    batch = next(ready(path, weight="w", shards=1).reader("train", 0).evaluation_batches(6))
    assert batch.weights is not None
    assert (batch.weights.dtype, batch.weights.tolist()) == (np.dtype("float32"), [0, 1, 2, 3, 4, 5])
    assert batch.x.shape == (6, 1)


def test_evaluation_reads_every_row_in_stored_order(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 50), features=["id"])
    batches = [list(data.reader("train", v).evaluation_batches(6)) for v in range(3)]
    assert [int(i) for shard in batches for b in shard for i in b.x[:, 0]] == list(range(50))
    assert [b.rows for b in batches[0]] == [6, 6, 4]


def test_a_validation_file_may_have_fewer_rows_than_shards(tmp_path: Path) -> None:
    small = numbered(tmp_path / "b.parquet", 2)
    data = ready(numbered(tmp_path / "a.parquet", 50), valid=small, features=["id"])
    assert sum(b.rows for v in range(3) for b in data.reader("valid", v).evaluation_batches(6)) == 2


def test_readers_bear_several_threads(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 200), shuffle_rows=9)
    reader, steps = data.reader("train", 0), data.train_plan.steps(0)
    expected = [data.reader("train", 0).batch(0, step).receipt for step in range(steps)]
    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(lambda step: reader.batch(0, step % steps).receipt, range(4 * steps)))
    assert got == expected * 4


def test_the_cache_of_decoded_rows_is_bounded(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 200, 20))
    part, cache = data.splits["train"].part, GroupCache(limit=1_000)
    sizes = [cache.read("train", part, group).nbytes for group in range(10)]
    assert cache.nbytes <= max(1_000, max(sizes)) < sum(sizes)
    tiny = GroupCache(limit=0)
    assert tiny.read("train", part, 3).positions[0] == 60
    assert tiny.nbytes == sizes[3], "the last row group is always kept"


def test_a_survey_spread_over_threads_finds_the_same(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.parquet", 70)
    job = {"train": path, "target": "label", "features": {"id": "standardize"}, "shards": 5, "batch_size": 8}
    plain = prepare(job, 1, "classification")
    for file in (cache_folder() / "surveys").iterdir():
        file.unlink()
    with ThreadPoolExecutor(3) as threads:
        spread = prepare(job, 1, "classification", survey_map=threads.map)
    assert (spread.features, spread.train_receipt, spread.digest) == (plain.features, plain.train_receipt, plain.digest)


def test_a_survey_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.parquet", 70)

    def never(*_: Any) -> Any:
        raise AssertionError("surveyed again")

    job = {"train": path, "target": "label", "features": {"id": "standardize"}, "shards": 2, "batch_size": 8}
    first = prepare(job, 1, "classification")
    again = prepare(job, 1, "classification", survey_map=never)
    assert (again.features, again.targets, again.train_receipt) == (first.features, first.targets, first.train_receipt)
    numbered(tmp_path / "a.parquet", 71)
    with pytest.raises(AssertionError, match="surveyed again"):
        prepare(job, 1, "classification", survey_map=never)


X, Y = np.arange(24, dtype=np.float64).reshape(12, 2), np.arange(12) % 2


@pytest.mark.parametrize("given", [
    (X, Y), (X.tolist(), Y.tolist()), {"x": X, "label": Y}, (X, Y[:, None]),
    [{"x": x, "label": y} for x, y in zip(X, Y, strict=True)],
    pa.table({"x": list(X), "label": Y}), pa.table({"x": list(X), "label": Y}).to_batches()[0],
])  # fmt: skip
def test_rows_in_memory_become_data_like_any_other(tmp_path: Path, given: Any) -> None:
    data = ready(from_memory(given, tmp_path / "new", "label"), shards=1)
    assert data.input_shape == (2,)
    assert np.array_equal(next(data.reader("train", 0).evaluation_batches(12)).x, X.astype(np.float32))


def test_frames_become_data_like_any_other(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y})
    data = ready(from_memory(frame, tmp_path, "label"), shards=1)
    assert np.array_equal(data.features.apply(frame), X.astype(np.float32))
    assert ready(from_memory((frame[["a", "b"]], frame["label"]), tmp_path, "label", "two")).input_shape == (2,)
    assert ready(from_memory((frame[["a", "b"]], frame[["label"]]), tmp_path, "label", "three")).input_shape == (2,)


def test_polars_frames_become_data_like_any_other(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y})
    data = ready(from_memory(frame, tmp_path, "label"), shards=1)
    assert np.array_equal(data.features.apply(frame), X.astype(np.float32))
    assert ready(from_memory((frame[["a", "b"]], frame["label"]), tmp_path, "label", "two")).input_shape == (2,)


@pytest.mark.parametrize("given", [(X, Y[:5]), {}, (X[:0], Y[:0]), 3, (np.array([object()] * 12), Y)])
def test_what_is_no_data_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(DataError) as error:
        from_memory(given, tmp_path, "label")
    assert error.value.fix
    assert list(tmp_path.iterdir()) == []


def test_mnist_is_read_once_an_epoch() -> None:
    job = {"train": shared("mnist/test.parquet"), "features": {"image": {"scale": 1 / 255}}, "target": "label"}
    data = prepare(job | {"shards": 4, "batch_size": 512}, 7, "classification", 10)
    batch = data.reader("train", 3).batch(0, 0)
    assert (batch.x.shape, batch.x.max() <= 1.0, batch.x.flags.c_contiguous) == ((128, 28, 28, 1), True, True)
    ids = epoch_ids(data, 0, 0)
    assert len(ids) == 2500


def test_the_next_window_is_decoded_before_it_is_needed(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 300, 5), shards=1, shuffle_rows=50, features=["id"])
    part, reader, cache = data.splits["train"].part, data.reader("train", 0), data.cache
    order = [int(i) // 5 for i in epoch_ids(ready(part.source.name, shards=1, shuffle_rows=50, features=["id"]), 0, 0)]
    for step in range(50 // 8):
        reader.batch(0, step)
        for _ in range(3):
            reader.look_ahead(0, step)
    assert not any(cache.load("train", part, group) for group in set(order[:100]))
    assert any(cache.load("train", part, group) for group in set(order[100:]))


@pytest.mark.parametrize(("window", "group", "batch"), [(50, 5, 8), (64, 7, 3), (40, 40, 11), (300, 10, 1)])
def test_steps_for_which_nothing_is_to_be_decoded_are_told(tmp_path: Path, window: int, group: int, batch: int) -> None:
    """Who looks only when there is more to do decodes what somebody decodes who looks at every step."""
    numbered(tmp_path / "a.parquet", 300, group)

    def decoded(patient: bool) -> list[int]:
        data = ready(str(tmp_path / "a.parquet"), shards=1, shuffle_rows=window, batch_size=batch, features=["id"])
        reader, rest, counts = data.reader("train", 0), 0, []
        for step in range(data.train_plan.steps(0)):
            found = 0
            while not patient or rest <= 0:
                rest = reader.look_ahead(0, step)
                if rest:
                    break
                found += 1
            rest -= 1
            counts.append(found)
        return counts

    assert decoded(patient=True) == decoded(patient=False)
    assert sum(decoded(patient=True)) > 1
