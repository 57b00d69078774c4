"""What MLflow knows of the runs in a user's folder."""

from pathlib import Path
from typing import Any

from distprop.tracking.address import make_client


def client(folder: Path) -> Any:
    """An MLflow client of the folder's store."""
    return make_client(f"sqlite:///{folder / 'mlflow.db'}")


MLFLOWS_OWN = (
    "ignore:.*inferred as AnyType:UserWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
)
"""Warnings of MLflow's own, when it is asked in this process."""


def the_run(folder: Path) -> Any:
    """The only run."""
    asked = client(folder)
    runs = asked.search_runs([one.experiment_id for one in asked.search_experiments()])
    assert len(runs) == 1, [run.info.run_id for run in runs]
    return runs[0]
