"""Wrong input on the command line: exit code 2, one what / why / fix on stderr, and nothing half-written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.scenarios.conftest import Desk, Ended
from tests.scenarios.making import ROWS, columns, job, write_rows

pytestmark = pytest.mark.scenario


class Case(NamedTuple):
    """A job that is wrong, how it is called, and what must be said of it."""

    said: tuple[str, ...]
    job: Callable[[], dict[str, Any]] = job
    rows: Callable[[Path], object] = write_rows
    words: tuple[str, ...] = ("--inline",)


def changed(**keys: Any) -> Callable[[], dict[str, Any]]:
    return lambda: job(**keys)


def rows_with(rows: int = ROWS, **values: Any) -> Callable[[Path], object]:
    return lambda path: write_rows(path, values, rows)


def at(name: str, row: int, value: float) -> np.ndarray:
    """A column with one value replaced."""
    values = columns()[name].copy()
    values[row] = value
    return values


NOBODY = "127.0.0.1:1"  # a port that no process is given by chance, unlike a free one that was let go
CASES = {
    "unknown key": Case(("`modle`", "did you mean `model`"), changed(modle=[])),
    "unknown key given by hand": Case(
        ("`train.epoch`", "did you mean `train.epochs`"), words=("--inline", "--set", "train.epoch=3")
    ),
    "wrong type": Case(("`data.shards`", "many"), changed(data={"shards": "many"})),
    "missing file": Case(("nowhere.parquet does not exist",), changed(data={"train": "nowhere.parquet"})),
    "empty folder": Case(("rows.parquet", "no Parquet file"), rows=lambda path: path.mkdir()),
    "no Parquet": Case(("rows.parquet",), rows=lambda path: path.write_text("x0,label\n1,2\n")),
    "missing column": Case(("'x9'", "x0, x1"), changed(data={"features": ["x9"]})),
    "missing target": Case(("'lable'", "did you mean `label`"), changed(data={"target": "lable"})),
    "text as feature": Case(("x1", "one_hot"), rows=rows_with(x1=np.array(["a", "b"] * ROWS)[:ROWS])),
    "label out of range": Case(("label", "9", "row group"), rows=rows_with(label=at("label", 100, 9))),
    "NaN in the data": Case(("'x2'", "nan", "row group 6", "impute"), rows=rows_with(x2=at("x2", 100, np.nan))),
    "fewer rows than shards": Case(
        ("shards", "2"), changed(data={"valid": None}, train={"evaluate_every": None}), rows=rows_with(rows=2)
    ),
    "batch smaller than shards": Case(("data.batch_size",), changed(data={"batch_size": 2})),
    "shapes that do not fit": Case(
        ("layer 2.dense", "(5,)", "(1,)"),
        changed(loss="mean_squared_error", metrics=None, model=[{"dense": 16}, "relu", {"dense": 5}]),
    ),
    "unknown metric": Case(("acuracy", "accuracy"), changed(metrics=["acuracy"])),
    "nobody at the tracking address": Case((NOBODY,), changed(tracking={"uri": f"http://{NOBODY}"})),
    "a tracking store that cannot be": Case(
        ("/no/such", "does not exist"), changed(tracking={"uri": "sqlite:////no/such/mlflow.db"})
    ),
    "nobody at the Ray address": Case((NOBODY,), words=("--address", NOBODY)),
    "a fault that cannot be inline": Case(
        ("server", "inline"), changed(faults=[{"kill": "server", "index": 0, "step": 3}])
    ),
    "nothing to resume": Case(("'nightly'",), words=("--inline", "--run-key", "nightly", "--resume", "must")),
}


def files(folder: Path) -> dict[str, int]:
    """All files and folders below, with their sizes."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*")}


def require_refusal(ended: Ended, *said: str) -> None:
    """One error in three sentences, for a person."""
    assert ended.code == 2, ended
    assert not ended.out
    assert ended.err.count("error: ") == 1, ended.err
    assert ended.err.count("\n  why: ") == 1, ended.err
    assert ended.err.count("\n  fix: ") == 1, ended.err
    assert "Traceback" not in ended.err
    assert all(part in ended.err for part in said), ended.err


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_refused_with_exit_code_2_and_leaves_nothing(name: str, desk: Desk) -> None:
    case = CASES[name]
    case.rows(desk.folder / "rows.parquet")
    desk.write("job.yaml", case.job())
    before = files(desk.folder)
    require_refusal(desk.run("train", "job.yaml", *case.words), *case.said)
    assert files(desk.folder) == before
    assert not list(desk.folder.parent.glob("cache/**/*.part*"))


@pytest.mark.parametrize("target", ["job.yaml", "nowhere", "."])
def test_what_is_no_checkpoint_cannot_be_resumed(target: str, desk: Desk) -> None:
    desk.write("job.yaml", job())
    before = files(desk.folder)
    require_refusal(desk.run("resume", target), target)
    assert files(desk.folder) == before


def test_a_checkpoint_of_another_recipe_or_of_other_data_is_refused(desk: Desk) -> None:
    rows = write_rows(desk.folder / "rows.parquet")
    short = job(train={"epochs": 2, "evaluate_every": None}, tracking={"enabled": False})
    desk.write("job.yaml", short)
    command = ("train", "job.yaml", "--inline", "--run-key", "k")
    assert desk.run(*command).code == 0
    before = files(desk.folder)
    require_refusal(desk.run(*command, "--set", "seed=6"), "another recipe", "recipe")
    assert files(desk.folder) == before
    write_rows(rows, {"x0": at("x0", 3, 1.0)})
    require_refusal(desk.run(*command), "other data")


def test_a_config_that_is_no_yaml_is_refused(desk: Desk) -> None:
    (desk.folder / "job.yaml").write_text("name: [unclosed\n")
    require_refusal(desk.run("train", "job.yaml"), "job.yaml")


def test_in_json_too_an_error_leaves_stdout_empty(desk: Desk) -> None:
    desk.write("job.yaml", job())
    require_refusal(desk.run("train", "job.yaml", "--inline", "--json"), "rows.parquet does not exist")
