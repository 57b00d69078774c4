"""Runs as they are kept: for `distprop list` and `distprop resume`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distprop.errors import AddressError, CheckpointError
from distprop.tracking.address import make_client, missing_file, without_secrets
from distprop.tracking.records import CONFIG_FILE

MOST_RUNS = 200
STATUS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted", "RUNNING": "running"}


@dataclass(frozen=True)
class RunRow:
    """One run of the list. started: seconds since the epoch."""

    run_id: str
    name: str
    status: str
    started: float
    metrics: Mapping[str, float]
    digest: str | None
    checkpoint: str | None


@dataclass(frozen=True)
class StoredRun:
    """What is needed to go on with a run. config: the resolved job as YAML."""

    run_id: str
    name: str
    status: str
    experiment: str
    config: str
    checkpoint: str | None
    run_key: str | None
    digest: str | None
    model_uri: str | None


def list_runs(uri: str, experiment: str | None = None, most: int = MOST_RUNS) -> list[RunRow]:
    """The newest runs at `uri`, newest first; of all experiments where none is named.

    Raises AddressError where nobody answers there.
    """
    if missing_file(uri):
        return []
    client = make_client(uri)
    with_digests = "tags.`distprop.token` != ''"
    found = _asked(
        uri,
        lambda: client.search_runs(
            _experiment_ids(client, experiment),
            with_digests,
            max_results=most,
            order_by=["attributes.start_time DESC"],
        ),
    )
    return [_row(run) for run in found]


def find(run_id: str, uri: str) -> StoredRun:
    """The run of this id, or the newest one with this run key.

    Raises AddressError where nobody answers at `uri`, CheckpointError where there is no such run of ours.
    """
    if (store := missing_file(uri)) is not None:
        raise CheckpointError(
            f"{run_id} is neither a checkpoint nor a run",
            f"there is no such folder, and no tracking store {store} here",
            "give the checkpoint's path, or go to the folder where the training was started",
        )
    client = make_client(uri)
    run = _asked(uri, lambda: _run(client, run_id))
    if run is None:
        raise CheckpointError(
            f"there is no run {run_id} in {without_secrets(uri)}",
            "neither a run's id nor a run key is called so",
            "see `distprop list`, or give the checkpoint's path",
        )
    tags = run.data.tags
    config = _asked(uri, lambda: _config(client, run))
    outputs = run.outputs.model_outputs if run.outputs else []
    return StoredRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=_status(run),
        experiment=_asked(uri, lambda: client.get_experiment(run.info.experiment_id).name),
        config=config,
        checkpoint=_checkpoint(tags),
        run_key=tags.get("distprop.run_key"),
        digest=tags.get("distprop.digest"),
        model_uri=f"models:/{outputs[-1].model_id}" if outputs else None,
    )


def checkpoint_folder(run_id: str, uri: str) -> str | None:
    """Where the run's checkpoints are, by its tag; None where there is no such run. Raises AddressError."""
    if missing_file(uri):
        return None
    client = make_client(uri)
    run = _asked(uri, lambda: _run(client, run_id))
    return run.data.tags.get("distprop.checkpoint") if run is not None else None


def _run(client: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    quoted = name.replace("'", "")
    by_key = client.search_runs(
        _experiment_ids(client, None),
        f"tags.`distprop.run_key` = '{quoted}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return client.get_run(by_key[0].info.run_id) if by_key else None


def _config(client: Any, run: Any) -> str:
    """The job's file, read where it lies; a run that was logged by something else has none."""
    import tempfile
    from pathlib import Path

    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    if CONFIG_FILE not in names:
        raise CheckpointError(
            f"run {run.info.run_id} is not one of ours",
            f"it has no {CONFIG_FILE}",
            "see `distprop list` for runs that can be resumed",
        )
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run.info.run_id, CONFIG_FILE, folder)).read_text(encoding="utf-8")


def _experiment_ids(client: Any, name: str | None) -> list[str]:
    if name is None:
        return [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.get_experiment_by_name(name)
    return [found.experiment_id] if found is not None else []


def _row(run: Any) -> RunRow:
    tags = run.data.tags
    metrics = {name: value for name, value in run.data.metrics.items() if not name.startswith("system/")}
    return RunRow(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=_status(run),
        started=run.info.start_time / 1000,
        metrics=metrics,
        digest=tags.get("distprop.digest"),
        checkpoint=_checkpoint(tags),
    )


def _status(run: Any) -> str:
    return STATUS.get(run.info.status, str(run.info.status).lower())


def _checkpoint(tags: Mapping[str, str]) -> str | None:
    return tags.get("distprop.checkpoint") or tags.get("distprop.last_checkpoint")


def _asked(uri: str, call: Any) -> Any:
    """The answer; AddressError where there is none."""
    try:
        return call()
    except (AddressError, CheckpointError):
        raise
    except Exception as error:
        text = without_secrets(" ".join(str(error).split()))[:300]
        raise AddressError(
            f"the runs in {without_secrets(uri)} cannot be read", text, "check the address, or start the server"
        ) from error
