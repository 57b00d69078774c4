"""The receipt of an epoch is that of the data; any row dropped, doubled, moved or altered changes it."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from distprop.data.receipt import MODULUS, limbs_to_receipt, receipt_of, receipt_to_limbs
from tests.data.made import numbered, ready


def rows_of(count: int, width: int, seed: int) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    rng = np.random.default_rng(seed)
    columns: list[NDArray[Any]] = [
        rng.integers(0, 256, (count, width), dtype=np.uint8),
        rng.normal(size=count).astype(np.float32),
    ]
    return np.arange(count, dtype=np.int64), columns


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.data())
def test_the_receipt_is_a_sum_over_rows_in_any_order(count: int, width: int, seed: int, data: st.DataObject) -> None:
    positions, columns = rows_of(count, width, seed)
    order = np.array(data.draw(st.permutations(range(count))))
    cut = data.draw(st.integers(0, count))
    parts = [receipt_of(positions[o], [c[o] for c in columns]) for o in (order[:cut], order[cut:])]
    assert sum(parts) % MODULUS == receipt_of(positions, columns)


@given(st.integers(2, 40), st.integers(1, 40), st.integers(0, 9), st.data())
def test_dropping_doubling_or_altering_a_row_shows(count: int, width: int, seed: int, data: st.DataObject) -> None:
    positions, columns = rows_of(count, width, seed)
    whole, row = receipt_of(positions, columns), data.draw(st.integers(0, count - 1))
    for other in (np.delete(np.arange(count), row), np.insert(np.arange(count), row, row)):
        assert receipt_of(positions[other], [c[other] for c in columns]) != whole
    columns[0][row, data.draw(st.integers(0, width - 1))] ^= np.uint8(1 << data.draw(st.integers(0, 7)))
    assert receipt_of(positions, columns) != whole


def test_two_sign_flips_and_swapped_rows_show() -> None:
    positions = np.arange(2)
    values = np.ones((2, 4), dtype=np.float32)
    whole = receipt_of(positions, [values])
    flipped = values.copy()
    flipped[0, [1, 3]] *= -1
    assert receipt_of(positions, [flipped]) != whole
    two = np.array([[1.0], [2.0]])
    assert receipt_of(positions, [two]) != receipt_of(positions, [two[::-1]])


@given(st.lists(st.integers(0, MODULUS - 1), min_size=1, max_size=50))
def test_limbs_add_up_in_float64_as_receipts_do(receipts: list[int]) -> None:
    limbs = np.sum([receipt_to_limbs(receipt) for receipt in receipts], axis=0)
    assert limbs_to_receipt(limbs) == sum(receipts) % MODULUS


def test_an_epochs_leaves_add_up_to_the_datas_receipt(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 101, 13), valid={"fraction": 0.2, "stratify": True})
    plan = data.train_plan
    for epoch in (0, 5):
        leaves = [
            data.reader("train", v).batch(epoch, s).receipt for s in range(plan.steps_per_epoch) for v in plan.leaves(s)
        ]
        assert sum(leaves) % MODULUS == data.train_receipt
        assert sum(leaves[1:]) % MODULUS != data.train_receipt
        assert (sum(leaves) + leaves[0]) % MODULUS != data.train_receipt


def test_the_receipt_knows_nothing_of_shards(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.parquet", 50)
    assert len({ready(path, shards=v).train_receipt for v in (1, 2, 5)}) == 1
    assert len({ready(path, shards=v).digest for v in (1, 2, 5)}) == 1
