"""A row that is dropped or read twice cannot pass: the epoch's receipt is not that of the data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.data.part import Rows
from distprop.data.reader import Encoding, ShardReader
from distprop.data.stacking import Columns
from distprop.errors import TrainingError
from tests.runtime.small import run, small_job

_between = ShardReader._between


def without_one(rows: Rows) -> Rows:
    return rows.take(slice(1, None))


def with_one_twice(rows: Rows) -> Rows:
    return rows.take(np.array([0, 0, *range(1, len(rows.positions))]))


def with_one_for_another(rows: Rows) -> Rows:
    """As many rows as there should be, one of them twice and one not at all."""
    return rows.take(np.array([0, 0, *range(2, len(rows.positions))]))


def with_another_value(rows: Rows) -> Rows:
    blocks = [block.copy() for block in rows.columns.blocks]
    blocks[rows.columns.places["x"].block][0, 0] += 1
    return Rows(rows.positions, Columns(blocks, rows.columns.places))


@pytest.mark.parametrize("wrong", [without_one, with_one_twice, with_one_for_another, with_another_value])
def test_a_reader_that_gets_one_row_wrong_makes_training_fail(
    wrong: Any, rows: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def between(self: ShardReader, epoch: int, start: int, stop: int) -> Any:
        """Once only: in the third leaf of shard 2."""
        for read in _between(self, epoch, start, stop):
            hit = self.shard == 2 and epoch == 0 and start == 2 * self.plan.step_rows(2) and len(read.positions) > 2
            yield wrong(read) if hit else read

    monkeypatch.setattr(ShardReader, "_between", between)
    with pytest.raises(TrainingError, match="epoch 0 did not see each row once"):
        run(small_job(rows, room), 2, (0, 1))


def test_a_receipt_that_nobody_took_makes_training_fail(rows: str, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Encoding.batch
    monkeypatch.setattr(Encoding, "batch", lambda self, read, *leaf: batch(self, read, *leaf)._replace(receipt=0))
    with pytest.raises(TrainingError, match="did not see each row once"):
        run(small_job(rows, room))
