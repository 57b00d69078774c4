"""An id that no row of a table has: the error names the layer, the column, the row, its row group and its file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.errors import DataError, TrainingError
from distprop.model import load_model
from tests.data.made import write
from tests.runtime.small import CLASSES, run, small_job

ROWS, GROUP, BAD = 90, 20, 47
WHERE = "row 7 of row group 2 of "


def columns(value: float, place: int = BAD) -> dict[str, Any]:
    ids = np.arange(ROWS, dtype=np.float64) % 9
    ids[place] = value
    return {"id": ids, "other": np.zeros(ROWS), "label": np.arange(ROWS) % CLASSES}


def job(here: Path, path: str, features: Any = ("id",), **changes: Any) -> dict[str, Any]:
    data = {"train": path, "valid": None, "features": list(features), "target": "label", "shards": 3, "batch_size": 12}
    model = [{"embedding": {"rows": 9, "width": 4}}, *(["flatten"] if len(features) > 1 else []), {"dense": CLASSES}]
    train = {"epochs": 2, "evaluate_every": None}
    return small_job(path, here, data={**data, **changes}, model=model, train=train)


@pytest.mark.parametrize("value", [9, -1, 2.5])
@pytest.mark.parametrize("homes", [(0,), (0, 0, 0)])  # with leaves that are computed together, and alone
def test_an_id_out_of_range_is_named_by_layer_column_and_place(
    tmp_path: Path, value: float, homes: tuple[int, ...]
) -> None:
    path = write(tmp_path / "bad.parquet", columns(value), GROUP)
    with pytest.raises(TrainingError) as caught:
        run(job(tmp_path, path), 1, homes)
    said = f"layer 0.embedding: an embedding was given the id {value:g}: column 'id', {WHERE}{path}"
    assert caught.value.what == said
    assert "0 to 8" in caught.value.why and "rows" in caught.value.fix


@pytest.mark.parametrize("split", ["valid", "test"])
def test_rows_that_are_held_out_are_named_too(tmp_path: Path, split: str) -> None:
    path, bad = (write(tmp_path / f"{name}.parquet", columns(of), GROUP) for name, of in (("good", 1), ("bad", 9)))
    with pytest.raises(TrainingError, match=rf"column 'id', {WHERE}{bad}"):
        run(job(tmp_path, path, **{split: bad}))


def test_of_several_columns_all_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.parquet", columns(9), GROUP)
    with pytest.raises(TrainingError, match=rf"columns 'id', 'other', {WHERE}{path}"):
        run(job(tmp_path, path, ("id", "other")))


def test_a_layer_inside_of_another_is_named_with_it(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.parquet", columns(9), GROUP)
    inner = {"sequence": [{"embedding": {"rows": 9, "width": 4}}]}
    with pytest.raises(TrainingError, match=r"^layer 0\.sequence: layer 0\.embedding: an embedding was given the id 9"):
        run({**job(tmp_path, path), "model": [inner, {"dense": CLASSES}]})


def test_a_model_that_predicts_names_its_layer(tmp_path: Path) -> None:
    good = write(tmp_path / "good.parquet", columns(1), GROUP)
    model = load_model(run(job(tmp_path, good)).result.model_uri or "")
    with pytest.raises(DataError, match=r"layer 0\.embedding: an embedding was given the id 9"):
        model.predict({"id": np.array([1.0, 9.0])})
