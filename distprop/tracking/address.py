"""Where runs are kept: which address is meant, and whether somebody answers there."""

import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from distprop.errors import AddressError
from distprop.tracking import database

DEFAULT_URI = "sqlite:///mlflow.db"
SQLITE = "sqlite:///"
SECRET = re.compile(r"(?<=://)[^/\s]*@")

# Set before MLflow is imported, over nothing that the user has set.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the default blocks for four minutes; we back off on our own
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output carries results only
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # a uv.lock in the current folder says nothing about the model
    "GIT_PYTHON_REFRESH": "quiet",
}


class Address(NamedTuple):
    """A tracking address and who named it."""

    uri: str
    source: str


def resolve_uri(config_uri: str | None) -> Address:
    """The address in force: flag or config, else `MLFLOW_TRACKING_URI`, else a SQLite file in this folder."""
    if config_uri:
        return Address(config_uri, "tracking.uri")
    from_environment = os.environ.get("MLFLOW_TRACKING_URI")
    if from_environment:
        return Address(from_environment, "MLFLOW_TRACKING_URI")
    return Address(DEFAULT_URI, "embedded")


def absolute(uri: str) -> str:
    """The same address, whatever folder it is later used from."""
    path = sqlite_path(uri)
    return uri if path is None else SQLITE + str(path.absolute())


def without_secrets(text: str) -> str:
    """The same text for people's eyes: addresses in it lose user and password."""
    return SECRET.sub("", text)


def settle_environment() -> None:
    """Make MLflow quiet and quick to give up; call before MLflow is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of errors that we tell


def make_client(uri: str) -> Any:
    """An MLflow client for `uri`; imports MLflow (2-4 s), leaves its global state alone, and makes a new store's file.

    Raises AddressError where MLflow is not installed, and for a file that is no whole store or cannot be made.
    """
    settle_environment()
    path = sqlite_path(uri)
    if path is not None:
        database.look(path)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise AddressError(
            "MLflow is not installed",
            str(error),
            "pip install 'distprop-train[mlflow]', or set `tracking.enabled: false`",
        ) from error
    if path is not None:
        database.make(path)
    if not uri.startswith(("http://", "https://")):
        _give_up_soon()
    try:
        return MlflowClient(tracking_uri=absolute(uri))
    except Exception as error:  # whatever MLflow, SQLAlchemy or a database's driver says of the address
        raise AddressError(
            f"the tracking store {without_secrets(uri)} cannot be opened", _short(error), _advice(error)
        ) from error


def _give_up_soon() -> None:
    """MLflow asks a database that does not answer ten times, for 100 seconds; three times take one."""
    from mlflow.store.db import utils

    utils.MAX_RETRY_COUNT = min(3, utils.MAX_RETRY_COUNT)


def preflight(uri: str, experiment: str = "Default") -> None:
    """Make the call that training would make first; seconds, not minutes. A SQLite file is only looked at.

    Raises AddressError where nobody answers, where a store cannot be made or used, or the experiment was deleted.
    """
    path = sqlite_path(uri)
    if path is not None:
        database.look(path, experiment)
        return database.require_writable(path)
    client = make_client(uri)
    try:
        found = client.get_experiment_by_name(experiment)
    except Exception as error:
        what = f"the tracking server at {without_secrets(uri)} does not answer"
        raise AddressError(what, _short(error), _advice(error)) from error
    if found is not None and found.lifecycle_stage == "deleted":
        raise database.deleted_experiment(experiment, found.experiment_id)
    return None


def missing_file(uri: str) -> Path | None:
    """The file of a SQLite address where there is none yet: MLflow makes it even for a question."""
    path = sqlite_path(uri)
    return path if path is not None and not path.exists() else None


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite address; None for any other address and for one with options."""
    if not uri.startswith(SQLITE) or "?" in uri or uri == SQLITE:
        return None
    return Path(uri.removeprefix(SQLITE))


def _short(error: Exception) -> str:
    text = without_secrets(" ".join(str(error).split()))
    return text if len(text) <= 300 else text[:297] + "..."


def _advice(error: Exception) -> str:
    if "403" in str(error):
        return "the server refuses this host name: start it with --allowed-hosts, or check the token"
    if isinstance(error, ImportError):
        return "install the database's driver, or correct `tracking.uri` or MLFLOW_TRACKING_URI"
    if "401" in str(error):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    return "start the server, or correct `tracking.uri` or MLFLOW_TRACKING_URI"
