"""Every row once an epoch, whatever the shards, batches and windows; a pure function of (epoch, step)."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.data.order import Piece, ShardOrder
from distprop.data.shards import DataPlan, plan_data
from distprop.errors import DataError
from tests.data.made import epoch_ids, numbered, ready


@st.composite
def plans(draw: st.DrawFn) -> DataPlan:
    shards = draw(st.integers(1, 9))
    return plan_data(draw(st.integers(shards, 300)), shards, draw(st.integers(shards, 90)))


@given(plans())
def test_the_leaves_of_an_epoch_cover_every_row_of_every_shard_once(plan: DataPlan) -> None:
    for shard in range(plan.shards):
        runs = [plan.leaf_bounds(shard, step) for step in range(plan.steps_per_epoch)]
        rows = [row for start, stop in runs for row in range(start, stop)]
        assert rows == list(range(plan.shard_rows(shard)))
    owned = [row for shard in range(plan.shards) for row in range(*plan.bounds(shard))]
    assert owned == list(range(plan.rows))


@given(plans())
def test_a_full_step_takes_the_batch_size_and_no_step_is_empty(plan: DataPlan) -> None:
    steps = [plan.rows_in_step(step) for step in range(plan.steps_per_epoch)]
    assert sum(steps) == plan.rows
    assert all(0 < rows <= plan.batch_size for rows in steps)
    assert plan.leaves(plan.steps_per_epoch) == ()
    assert all(plan.leaf_rows(v, s) == plan.step_rows(v) for v in range(plan.shards) for s in range(plan.steps(v) - 1))


@st.composite
def orders(draw: st.DrawFn) -> ShardOrder:
    sizes = draw(st.lists(st.integers(1, 20), min_size=1, max_size=8))
    starts = draw(st.lists(st.integers(0, 5), min_size=len(sizes), max_size=len(sizes)))
    pieces = tuple(Piece(i, s, s + size) for i, (s, size) in enumerate(zip(starts, sizes, strict=True)))
    return ShardOrder(pieces, draw(st.integers(0, 2**70)), draw(st.integers(0, 5)), draw(st.integers(1, 50)))


@given(orders(), st.integers(0, 3))
def test_the_windows_of_an_epoch_hold_every_row_once(order: ShardOrder, epoch: int) -> None:
    seen = []
    for index in range(-(-order.rows // order.window_rows)):
        window = order.window(epoch, index)
        rows = [(p.group, row) for p in window.pieces for row in range(p.start, p.stop)]
        assert sorted(window.shuffle.tolist()) == list(range(len(rows)))
        seen += rows
    assert sorted(seen) == sorted((p.group, row) for p in order.pieces for row in range(p.start, p.stop))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 60),
    group=st.integers(1, 25),
    shards=st.integers(1, 5),
    extra=st.integers(0, 30),
    window=st.integers(1, 70),
)
def test_readers_deliver_every_row_once_an_epoch(
    tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, shards: int, extra: int, window: int
) -> None:
    rows = max(rows, shards, 3)
    path = numbered(tmp_path_factory.mktemp("rows") / "a.parquet", rows, group)
    data = ready(path, shards=shards, batch_size=shards + extra, shuffle_rows=window, features=["id"])
    orders = []
    for epoch in (0, 1):
        ids = [epoch_ids(data, epoch, shard) for shard in range(shards)]
        assert sorted(i for one in ids for i in one) == list(range(rows))
        orders.append(ids)
    assert [sorted(one) for one in orders[0]] == [sorted(one) for one in orders[1]], "a shard keeps its rows"


def test_a_batch_is_the_same_whatever_was_read_before(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 97))
    reader = data.reader("train", 1)
    steps = data.train_plan.steps(1)
    for epoch, step in [(2, steps - 1), (0, 0), (2, 3), (0, 5), (2, steps - 1), (1, 1), (0, 0)]:
        used, fresh = reader.batch(epoch, step), data.reader("train", 1).batch(epoch, step)
        assert used.receipt == fresh.receipt
        assert np.array_equal(used.x, fresh.x)
        assert np.array_equal(used.y, fresh.y)


def test_epochs_and_seeds_have_different_orders(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 90), features=["id"])
    assert epoch_ids(data, 0, 0) != epoch_ids(data, 1, 0)
    assert epoch_ids(data, 0, 0) != sorted(epoch_ids(data, 0, 0))


def test_x_and_y_of_a_row_stay_together(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 60), features=["id"])
    batch = data.reader("train", 2).batch(3, 1)
    assert np.array_equal(batch.x[:, 0].astype(int) % 3, batch.y)


def test_a_shard_that_has_run_out_has_no_leaf(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 30))
    with pytest.raises(IndexError):
        data.reader("train", 0).batch(0, data.train_plan.steps(0))


@pytest.mark.parametrize(("rows", "shards", "batch"), [(3, 4, 8), (10, 4, 3), (10, 0, 3)])
def test_plans_that_leave_a_shard_without_rows_are_refused(rows: int, shards: int, batch: int) -> None:
    with pytest.raises(DataError, match=r"shards"):
        plan_data(rows, shards, batch)
