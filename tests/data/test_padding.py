"""Lists of varying length become rows of one shape, in training as in predicting."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.data.columns import Column, Padding
from distprop.data.dataset import Dataset
from distprop.data.features import Features
from distprop.data.memory import from_memory
from distprop.data.padding import EXACT, pad_given
from distprop.errors import DataError
from tests.data.made import ready, write

TOKENS = [[5, 6, 7, 8, 9], [1], [], [2, 3, 4]]
LISTS = st.lists(st.lists(st.integers(-9, 9), max_size=7), min_size=1, max_size=9)


def data(tmp_path: Path, how: Any, lists: Any = TOKENS, kind: Any = None, **more: Any) -> Dataset:
    kind = kind or pa.list_(pa.int32())
    table = pa.table({"tokens": pa.array(lists * 3, kind), "label": [0, 1] * (3 * len(lists) // 2)})
    path = write(tmp_path / "a.parquet", table, group=5)
    return ready(path, features={"tokens": how} if how else ["tokens"], shards=1, **more)


def rows_of(dataset: Dataset) -> Any:
    return np.concatenate([batch.x for batch in dataset.reader("train", 0).evaluation_batches(5)])[:4].tolist()


@pytest.mark.parametrize(("how", "expected"), [
    ({"pad": 3}, [[5, 6, 7], [1, 0, 0], [0, 0, 0], [2, 3, 4]]),
    ({"pad": {"length": 3, "keep": "last", "value": -1}}, [[7, 8, 9], [1, -1, -1], [-1, -1, -1], [2, 3, 4]]),
    ([{"pad": 4}, {"scale": 2}], [[10, 12, 14, 16], [2, 0, 0, 0], [0, 0, 0, 0], [4, 6, 8, 0]]),
])  # fmt: skip
def test_lists_are_filled_up_or_cut(tmp_path: Path, how: Any, expected: Any) -> None:
    padded = data(tmp_path, how)
    assert padded.input_shape == (len(expected[0]),)
    assert rows_of(padded) == expected
    again = Features.from_json(padded.features.to_json())
    given_as = [TOKENS, {"tokens": TOKENS}, [np.array(row) for row in TOKENS], pa.table({"tokens": TOKENS})]
    assert all(again.apply(one).tolist() == expected for one in given_as), "predicting sees what training saw"


def test_lists_of_lists_keep_their_inner_shape(tmp_path: Path) -> None:
    lists = [[[1, 2], [3, 4], [5, 6]], [[7, 8]], [], [[9, 9], [8, 8]]]
    padded = data(tmp_path, {"pad": 2}, lists, pa.list_(pa.list_(pa.float32(), 2)))
    assert padded.input_shape == (2, 2)
    expected = [[[1, 2], [3, 4]], [[7, 8], [0, 0]], [[0, 0], [0, 0]], [[9, 9], [8, 8]]]
    assert rows_of(padded) == expected
    assert padded.features.apply(lists).tolist() == expected
    assert padded.features.apply(pa.table({"tokens": lists})).tolist() == expected


def test_frames_of_lists_are_padded(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    features = data(tmp_path, {"pad": 2}).features
    assert features.apply(pandas.DataFrame({"tokens": TOKENS})).tolist() == [[5, 6], [1, 0], [0, 0], [2, 3]]


@given(LISTS, st.integers(1, 8), st.sampled_from(["first", "last"]), st.integers(-3, 3))
@settings(max_examples=60)
def test_every_row_is_its_own_elements_and_then_padding(
    rows: list[list[int]], length: int, keep: Any, value: int
) -> None:
    column = Column("a", "list", "int64", (length,), padding=Padding(value, keep))
    for row, padded in zip(rows, pad_given(column, rows).tolist(), strict=True):
        kept = row[:length] if keep == "first" else row[max(0, len(row) - length) :]
        assert padded == kept + [value] * (length - len(kept))


def test_padded_lists_stand_beside_numbers(tmp_path: Path) -> None:
    table = pa.table({"tokens": TOKENS * 3, "age": np.arange(12.0), "label": [0, 1] * 6})
    both = ready(write(tmp_path / "a.parquet", table), features={"age": None, "tokens": {"pad": 2}}, shards=1)
    assert rows_of(both) == [[0, 5, 6], [1, 1, 0], [2, 0, 0], [3, 2, 3]]


def test_codes_are_exact_up_to_what_float32_can_hold(tmp_path: Path) -> None:
    assert rows_of(data(tmp_path, {"pad": 1}, [[EXACT], [EXACT - 1], [-EXACT], [1]])) == [
        [EXACT], [EXACT - 1], [-EXACT], [1]]  # fmt: skip
    with pytest.raises(DataError, match=r"'tokens' has 16777217 in row 3 of row group 0 of .*a\.parquet"):
        data(tmp_path, {"pad": 1}, [[1, 2], [], [3], [4, EXACT + 1]])


@pytest.mark.parametrize("given_as", [
    lambda lists, y: (lists, y), lambda lists, y: {"x": lists, "label": y},
    lambda lists, y: pa.table({"x": lists, "label": y}),
    lambda lists, y: {"x": [np.array(row) for row in lists], "label": y},
])  # fmt: skip
def test_rows_in_memory_may_be_lists_of_varying_length(tmp_path: Path, given_as: Any) -> None:
    path = from_memory(given_as(TOKENS * 3, np.arange(12) % 2), tmp_path / "new", "label")
    padded = ready(path, features={"x": {"pad": 2}}, shards=1)
    assert rows_of(padded) == [[5, 6], [1, 0], [0, 0], [2, 3]]


def test_receipts_of_an_epoch_are_those_of_the_data(tmp_path: Path) -> None:
    padded = data(tmp_path, {"pad": 3})
    reader = padded.reader("train", 0)
    seen = sum(reader.batch(1, step).receipt for step in range(padded.train_plan.steps(0)))
    assert seen % 2**128 == padded.train_receipt


def test_lists_of_any_length_ask_for_pad(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lists of any length") as error:
        data(tmp_path, None)
    assert "`tokens: {pad: 100}`" in error.value.fix


WRONG: list[tuple[Any, Any, Any, str]] = [
    ({"pad": 0}, TOKENS, None, "1 or more"), ({"pad": {"value": 1}}, TOKENS, None, "1 or more"),
    ({"pad": {"length": 3, "keep": "middle"}}, TOKENS, None, "first or last"),
    ({"pad": {"length": 3, "vlaue": 1}}, TOKENS, None, "vlaue"),
    ({"pad": {"length": 3, "value": 0.5}}, TOKENS, None, "int32"),
    ({"pad": {"length": 3, "value": -1}}, TOKENS, pa.list_(pa.uint8()), "uint8"),
    ([{"pad": 3}, "standardize"], TOKENS, None, "only be scale"), (["log", {"pad": 3}], TOKENS, None, "pad"),
    ([{"scale": 2}, {"pad": 3}], TOKENS, None, "pad"),
    ([{"pad": {"length": 3, "value": 1}}, {"scale": 2}], TOKENS, None, "padding of 0"),
    ({"pad": 3}, [[1], None, [2], [3]], None, "write an empty one"),
    ({"pad": 3}, [[1], [2, None], [2], [3]], None, "null in row 1"),
    ({"pad": 3}, ["a", "b", "c", "d"], pa.string(), "lists of numbers only"),
    ({"pad": 3}, [["a"], ["b"], ["c"], ["d"]], pa.list_(pa.string()), "lists of numbers only"),
]  # fmt: skip


@pytest.mark.parametrize(("how", "lists", "kind", "says"), WRONG)
def test_paddings_that_cannot_be_are_refused(tmp_path: Path, how: Any, lists: Any, kind: Any, says: str) -> None:
    with pytest.raises(DataError) as error:
        data(tmp_path, how, lists, kind)
    assert says in str(error.value)
    assert error.value.fix


def test_predicting_on_what_is_no_list_is_refused(tmp_path: Path) -> None:
    features = data(tmp_path, {"pad": 3}).features
    for wrong in ([["a"]], {"tokens": [["a", "b"]]}):
        with pytest.raises(DataError, match="no numbers"):
            features.apply(wrong)


def test_augmenting_padded_rows_is_refused(tmp_path: Path) -> None:
    from distprop.errors import ConfigError

    with pytest.raises(ConfigError, match="codes or padding"):
        data(tmp_path, {"pad": 3}, augment=[{"noise": 0.1}])


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()])
def test_fixed_size_lists_need_no_shape(tmp_path: Path, kind: pa.DataType) -> None:
    lists = [[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]]
    stored = [[bool(v) if pa.types.is_boolean(kind) else v for v in row] for row in lists]
    fixed = data(tmp_path, None, stored, pa.list_(kind, 3))
    assert fixed.input_shape == (3,)
    assert rows_of(fixed) == lists
