"""Wrong input ends in one clear error that says what, why and what to do; and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.errors import AddressError, ConfigError, DataError, ShapeError, UserError
from distprop.training import train
from tests.runtime.small import small_job, table, written

Change = Callable[[dict[str, Any], Path], None]


def data(**keys: Any) -> Change:
    return lambda job, _: job["data"].update(keys)


def keys(**changed: Any) -> Change:
    return lambda job, _: job.update(changed)


def rows_with(**columns: Any) -> Change:
    """Other rows: columns replaced or, where None, left out."""

    def change(job: dict[str, Any], here: Path) -> None:
        made = {**table(), **columns}
        job["data"]["train"] = written(here, {name: values for name, values in made.items() if values is not None})

    return change


def _with_nan() -> np.ndarray:
    x = table()["x"].copy()
    x[17, 2] = np.nan
    return x


def _one_label_too_many() -> np.ndarray:
    label = table()["label"].copy()
    label[100] = 7
    return label


def _damaged_file(job: dict[str, Any], here: Path) -> None:
    Path(here, "torn.parquet").write_bytes(Path(job["data"]["train"]).read_bytes()[:-200])
    job["data"]["train"] = str(here / "torn.parquet")


def _empty_folder(job: dict[str, Any], here: Path) -> None:
    Path(here, "empty").mkdir()
    job["data"]["train"] = str(here / "empty")


TOO_WIDE = [{"dense": 9}, "relu", {"dense": 5}]
WRONG: dict[str, tuple[Change, type[UserError], str]] = {
    "unknown key": (keys(modle=[]), ConfigError, "model"),
    "wrong type": (keys(seed="seven"), ConfigError, "seed"),
    "unknown layer": (keys(model=[{"dens": 3}]), UserError, "dense"),
    "unknown loss": (keys(loss="softmax_entropy"), UserError, "softmax_cross_entropy"),
    "unknown metric": (keys(metrics=["acuracy"]), UserError, "accuracy"),
    "unknown optimizer": (keys(optimizer={"adamm": {"learning_rate": 0.1}}), UserError, "adam"),
    "unknown setting": (keys(optimizer={"adam": {"rate": 0.1}}), UserError, "learning_rate"),
    "unknown kernel": (keys(numerics={"blas_kernel": "haswel"}), ConfigError, "haswell"),
    "missing file": (data(train="nowhere.parquet"), DataError, r"nowhere\.parquet does not exist"),
    "empty folder": (_empty_folder, DataError, "empty"),
    "damaged file": (_damaged_file, DataError, r"torn\.parquet"),
    "missing target": (data(target="labl"), DataError, "label"),
    "missing column": (data(features=["y"]), DataError, "y"),
    "text as feature": (
        lambda job, here: (
            rows_with(word=np.array(["a", "b"] * 105 + ["c"]))(job, here),
            data(features=["word"])(job, here),
        ),
        DataError,
        "one_hot",
    ),
    "NaN in the data": (rows_with(x=_with_nan()), DataError, "'x'"),
    "label out of range": (rows_with(label=_one_label_too_many()), DataError, "7"),
    "fewer rows than shards": (rows_with(x=table(3)["x"], label=table(3)["label"]), DataError, "shards"),
    "fewer outputs than classes": (keys(model=[{"dense": 2}]), UserError, "label 2 is out of range"),
    "a softmax too many": (keys(model=[{"dense": 3}, "softmax"]), ShapeError, "softmax"),
    "a model that is nowhere": (keys(model="no_such_module:build"), ConfigError, "no_such_module"),
    "a store that cannot be": (keys(tracking={"uri": "sqlite:////no/such/place/m.db"}), AddressError, "/no/such/place"),
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_wrong_input_is_said_clearly_and_leaves_nothing(wrong: str, rows: str, here: Path) -> None:
    change, kind, said = WRONG[wrong]
    job = small_job(rows, here / "kept")
    change(job, here)
    before = sorted(here.rglob("*"))
    with pytest.raises(kind, match=said) as caught:
        train(job, inline=True)
    assert caught.value.what and caught.value.why and caught.value.fix
    assert sorted(here.rglob("*")) == before


def test_a_shape_that_does_not_fit_names_the_layer_and_both_shapes(rows: str, here: Path) -> None:
    job = small_job(rows, here, loss="mean_squared_error", model=TOO_WIDE, metrics=None)
    with pytest.raises(ShapeError, match=r"layer 2\.dense .*\(5,\).*\(1,\)"):
        train(job, inline=True)


def test_rows_in_memory_of_different_length_are_the_users_error(here: Path) -> None:
    job = small_job("", here)
    job["data"].pop("train")
    with pytest.raises(DataError, match="different numbers of rows"):
        train(job, inline=True, data={"x": np.zeros((5, 6)), "label": np.zeros(4, int)})
