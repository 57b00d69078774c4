"""Where a run and its checkpoints are kept, as far as training looks at it."""

from pathlib import Path

import pytest

from distprop.errors import AddressError
from distprop.training import train
from distprop.training.recording import _warn_of_passing_place

PASSING = "/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1"


@pytest.mark.parametrize(
    ("store", "folder", "named"),
    [
        (Path(PASSING, "mlflow.db"), f"{PASSING}/checkpoints/a", [f"{PASSING}/checkpoints/a", f"{PASSING}/mlflow.db"]),
        (None, f"{PASSING}/checkpoints/a", [f"{PASSING}/checkpoints/a"]),
        (Path(PASSING, "mlflow.db"), "s3://bucket/a", [f"{PASSING}/mlflow.db"]),
    ],
)
def test_what_lies_in_a_folder_that_ray_deletes_is_warned_of(store, folder, named, caplog):
    _warn_of_passing_place(store, folder)
    assert caplog.text.count("which deletes it") == 1
    assert all(one in caplog.text for one in named)


def test_what_lasts_is_not_warned_of(caplog):
    _warn_of_passing_place(Path("/home/ann/mlflow.db"), "/home/ann/checkpoints/a")
    assert caplog.text == ""


def with_a_broken_store(folder: Path, **tracking: object) -> dict[str, object]:
    """A small job whose mlflow.db is no database."""
    (folder / "mlflow.db").write_text("this is no database")
    return {
        "data": {"train": "sample://wine", "target": "label", "shards": 2, "batch_size": 64},
        "model": [{"dense": 3}],
        "loss": "softmax_cross_entropy",
        "optimizer": {"sgd": {"learning_rate": 0.01}},
        "train": {"epochs": 1},
        "checkpoint": {"dir": str(folder / "checkpoints")},
        "tracking": {"uri": f"sqlite:///{folder}/mlflow.db", **tracking},
    }


def test_a_store_that_cannot_be_used_ends_a_job_before_it_trains(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(AddressError, match="no SQLite file"):
        train(with_a_broken_store(tmp_path), inline=True)
    assert not (tmp_path / "checkpoints").exists()


def test_a_job_that_does_not_require_its_run_trains_and_keeps_the_records(tmp_path, caplog):
    pytest.importorskip("mlflow")
    result = train(with_a_broken_store(tmp_path, required=False), inline=True)
    assert result.status == "finished"
    assert "training all the same" in caplog.text
    assert result.spooled
    assert "no SQLite file" in result.tracking_gap
    assert (tmp_path / "mlflow.db").read_text() == "this is no database"
