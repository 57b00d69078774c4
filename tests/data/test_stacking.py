"""Columns taken together give what they give one by one: their values, their rows' hashes, their preprocessing."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from distprop.data.columns import Column
from distprop.data.features import Features
from distprop.data.receipt import row_hashes
from distprop.data.stacking import Columns, join_columns, side_by_side, stack
from tests.data.made import ready, write

TYPES = ["float64", "float32", "float16", "int64", "int32", "uint8", "list", "text"]
LAYOUTS = st.lists(st.sampled_from(TYPES), min_size=1, max_size=9)


def made(kinds: list[str], rows: int = 11) -> tuple[list[Column], dict[str, NDArray[Any]], Columns]:
    """Columns of these kinds, their values, and both together."""
    rng = np.random.default_rng(len(kinds))
    columns, values = [], {}
    for i, kind in enumerate(kinds):
        name = f"c{i}"
        if kind == "list":
            columns.append(Column(name, "list", "uint8", (3,)))
            values[name] = rng.integers(0, 9, (rows, 3)).astype(np.uint8)
        elif kind == "text":
            columns.append(Column(name, "text", "text"))
            values[name] = rng.integers(0, 2**63, rows).astype(np.uint64)
        else:
            columns.append(Column(name, "number", kind))
            values[name] = rng.normal(50, 30, rows).astype(kind)
    return columns, values, stack(columns, values)


@given(LAYOUTS, st.integers(0, 11), st.integers(0, 11))
@settings(max_examples=40)
def test_stacked_columns_are_the_columns(kinds: list[str], cut: int, other: int) -> None:
    columns, values, stacked = made(kinds)
    assert list(stacked) == [column.name for column in columns]
    assert stacked.nbytes == sum(array.nbytes for array in values.values())
    order = np.random.default_rng(cut).permutation(11)[:other]
    joined = join_columns([stacked.take(slice(0, cut)), stacked.take(slice(cut, None)), stacked.take(order)])
    for name, array in values.items():
        assert joined[name].dtype == array.dtype
        assert np.array_equal(joined[name], np.concatenate([array, array[order]]))


@given(LAYOUTS)
@settings(max_examples=40)
def test_rows_have_the_same_hashes_however_their_columns_lie(kinds: list[str]) -> None:
    _, values, stacked = made(kinds)
    positions = np.arange(100, 111)
    assert np.array_equal(row_hashes(positions, stacked), row_hashes(positions, list(values.values())))


def test_columns_in_one_matrix_are_had_without_a_copy() -> None:
    _, values, stacked = made(["float64", "int64", "float64", "float64"])
    both = side_by_side(stacked, ["c0", "c2", "c3"])
    assert both.base is None or both is stacked.blocks[0]
    assert np.shares_memory(both, stacked.blocks[0])
    assert np.array_equal(side_by_side(stacked, ["c3", "c0"]), side_by_side(values, ["c3", "c0"]))
    assert np.array_equal(side_by_side(stacked, ["c0", "c1"]), side_by_side(values, ["c0", "c1"]))


HOW = st.sampled_from([
    None, "standardize", {"scale": 0.3}, {"scale": 7}, {"log": {"add": 200}}, {"log": {"absolute": True, "add": 1}},
    {"impute": "mean"}, [{"impute": {"value": 3, "indicator": False}}, "standardize"], [{"impute": 5}, {"scale": 2}],
    {"standardize": {"mean": 1, "std": 2}}, [{"log": {"add": 300}}, "standardize"], {"impute": "median"},
])  # fmt: skip


@given(st.lists(HOW, min_size=2, max_size=8))
@settings(max_examples=25, deadline=None)
def test_columns_preprocessed_together_are_those_preprocessed_alone(tmp_path_factory: Any, how: list[Any]) -> None:
    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {f"c{i}": rng.normal(50, 30, 24).astype(["f8", "f4"][i % 2]) for i in range(len(how))}
    columns |= {"image": rng.integers(0, 9, (24, 2)).astype(np.uint8), "tree": np.array(["oak", "elm"] * 12)}
    path = write(Path(tmp_path_factory.getbasetemp()) / "g.parquet", columns | {"label": np.arange(24) % 2})
    wanted = {f"c{i}": one for i, one in enumerate(how)} | {"tree": "one_hot", "image": None}
    for i in range(0, len(how), 2):  # lists and words in between
        wanted[f"c{i}"] = wanted.pop(f"c{i}")
    data = ready(path, "binary", features=wanted, shards=1)
    (batch,) = data.reader("train", 0).evaluation_batches(24)
    alone = [Features((feature,)).apply(columns).reshape(24, -1) for feature in data.features.features]
    assert np.array_equal(batch.x, np.concatenate(alone, axis=1))
    assert np.array_equal(data.features.apply(columns), batch.x)
