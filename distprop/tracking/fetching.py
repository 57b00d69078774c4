"""Copies a logged or registered model to this machine.

MLflow resolves `models:/...` with its process-wide address, whatever address it is given; so we look it up ourselves.
"""

import os
from pathlib import Path
from typing import Any

from distprop.errors import AddressError, CheckpointError
from distprop.tracking.address import absolute, make_client, resolve_uri

UNANSWERED = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "PERMISSION_DENIED", "UNAUTHENTICATED")


def fetch(uri: str, place: str | os.PathLike[str], tracking_uri: str | None = None) -> Path:
    """Copy the model at `runs:/...` or `models:/...` into the folder `place`; returns where it is.

    Raises AddressError where MLflow is missing or does not answer, CheckpointError where there is no such model.
    """
    where = absolute(resolve_uri(tracking_uri).uri)
    client = make_client(where)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        found = locate(client, uri)
        return Path(download_artifacts(found, dst_path=os.fspath(place), tracking_uri=where))
    except (MlflowException, OSError) as error:
        why = " ".join(str(error).split())[:300]
        if getattr(error, "error_code", "") in UNANSWERED:
            raise AddressError(f"{where} does not answer", why, "start the server, or check the address") from error
        raise CheckpointError(f"there is no model at {uri} in {where}", why, "see `distprop list`") from error


def locate(client: Any, uri: str) -> str:
    """Where the files of `runs:/RUN_ID/NAME`, `models:/m-...`, `models:/NAME@ALIAS` or `models:/NAME/VERSION` are."""
    scheme, _, path = uri.partition(":/")
    if scheme == "runs":
        return _of_run(client, uri, *path.lstrip("/").partition("/")[::2])
    name, slash, version = path.partition("/")
    if "@" in name:
        name, _, alias = name.partition("@")
        version = str(client.get_model_version_by_alias(name, alias).version)
    elif not slash:
        return str(client.get_logged_model(name).artifact_location)
    elif not version.isdigit():
        version = _newest(client, name)
    source = str(client.get_model_version_download_uri(name, version))
    return locate(client, source) if source.startswith("models:/") else source


def _of_run(client: Any, uri: str, run_id: str, name: str) -> str:
    """A run's model is an output of the run, called after its job or `model`; what others log is an artifact."""
    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else ()
    models = [client.get_logged_model(output.model_id) for output in outputs]
    for model in models:
        if model.name == name:
            return str(model.artifact_location)
    return str(models[-1].artifact_location) if models and name == "model" else uri


def _newest(client: Any, name: str) -> str:
    versions = [int(found.version) for found in client.search_model_versions(f"name = '{name}'")]
    return str(max(versions, default=0))
