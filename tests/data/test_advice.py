"""Files that train badly are named, with how to write them better; good ones are not."""

from pathlib import Path

import numpy as np
import pytest

from distprop.data.advice import advise
from tests.data.made import numbered, ready, write


def test_one_huge_row_group_is_named_with_a_better_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 240, group=240), shards=4)
    assert advise(data) == [], "rows that stay in memory are decoded once, however they are stored"
    monkeypatch.setattr("distprop.data.advice.SMALL", 240 * (8 + 6 + 4))
    (advice,) = advise(data)
    assert "decoded 4.0 times" in advice
    assert "row_group_size=15" in advice


def test_rows_sorted_by_label_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"a": np.arange(240.0), "label": np.arange(240) // 80}, group=20)
    (advice,) = advise(ready(path))
    assert "sorted by 'label'" in advice


def test_good_files_need_no_advice(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.parquet", 240, group=20)
    assert advise(ready(path)) == []
    assert advise(ready(path, "regression", target="id", features=["image"])) == []
