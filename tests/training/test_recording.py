"""Where a run and its checkpoints are kept, as far as training looks at it."""

from pathlib import Path

import pytest

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
