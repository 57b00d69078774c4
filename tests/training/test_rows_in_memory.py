"""What `train(job, data=...)` takes: as people have their rows in memory, trained with the same bits in each form."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distprop.data import memory
from distprop.errors import DataError
from distprop.training import train
from tests.runtime.small import small_job, table

X, Y = table()["x"], table()["label"]
WEIGHTS = 1.0 + Y


def digest(data: Any, **changes: Any) -> str | None:
    job = small_job("unused", Path("kept"), **changes)
    del job["data"]["train"]
    return train(job, data=data, inline=True).digest


@pytest.mark.usefixtures("here")
def test_sample_weights_beside_x_and_y_are_the_weights_of_rows() -> None:
    as_column = digest({"x": X, "label": Y, "w": WEIGHTS}, data__weight="w")
    assert digest((X, Y, WEIGHTS), data__weight="w") == as_column
    assert digest({"train": (X, Y, WEIGHTS[:, None].tolist())}) == digest((X, Y, WEIGHTS)) != digest((X, Y))
    assert digest((X, Y, np.ones(len(Y)))) is not None


@pytest.mark.usefixtures("here")
def test_rows_without_weights_beside_such_with_weights_count_once() -> None:
    valid = table(60, seed=1)
    ones = np.ones(60)
    given = {"train": (X, Y, WEIGHTS), "valid": (valid["x"], valid["label"])}
    assert digest(given) == digest(given | {"valid": (valid["x"], valid["label"], ones)})


@pytest.mark.usefixtures("here")
def test_sparse_rows_are_trained_as_the_dense_ones_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    zeros = np.where(X > 0, X, 0)
    for kind in (sparse.csr_matrix, sparse.coo_array, sparse.csc_matrix):
        assert digest((kind(zeros), sparse.csr_matrix(Y[:, None]))) == digest((zeros, Y))
    monkeypatch.setattr(memory, "MOST_DENSE", 100)
    with pytest.raises(DataError, match=r"sparse, of shape \(211, 6\)") as error:
        digest((sparse.csr_matrix(zeros), Y))
    assert "fewer columns" in error.value.fix


@pytest.mark.usefixtures("here")
def test_rows_in_a_list_and_tables_beside_y_are_trained_alike() -> None:
    columns = {f"x{place}": X[:, place] for place in range(X.shape[1])}
    rows = [dict(zip(columns, map(float, row), strict=True)) for row in X]
    listed = [{**row, "label": int(y)} for row, y in zip(rows, Y, strict=True)]
    forms: list[Any] = [{**columns, "label": Y}, (pa.table(columns), Y[:, None]), (columns, Y)]
    assert len({digest(form, data__features="all") for form in forms}) == 1
    assert len({digest(form, data__features="all") for form in ((rows, Y), listed)}) == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((X, Y, WEIGHTS, X), r"cannot train on a tuple of 4[\s\S]*sample_weight"),
        ([X, Y], r"cannot train on a list of 2[\s\S]*as a tuple"),
        ((X, np.eye(3)[Y]), r"lists of 3 values[\s\S]*argmax"),
        ({"train": (X, Y), "vaild": (X, Y)}, r"'vaild'[\s\S]*no split[\s\S]*valid"),
        ({"valid": (X, Y)}, "training needs rows"),
        ({"x": X, "label": 1}, "column 'label' is a single int"),
        ((X, Y[:-1]), "different numbers of rows"),
        ((X, Y, WEIGHTS[:5]), "different numbers of rows"),
        ((pa.table({"label": Y}), Y), r"X has a column 'label'"),
    ],
)
def test_what_cannot_be_trained_on_is_told_with_what_to_give(data: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        digest(data)
