"""One way in: a folder, or an address in MLflow."""

import importlib
import os
import tempfile

from distprop.model.trained import Model, load_folder

# Late, by name: what knows MLflow knows models too, and only who gives such an address needs MLflow.
FETCHERS = {"runs": "distprop.tracking.fetching", "models": "distprop.tracking.fetching"}


def load_model(where: str | os.PathLike[str], tracking_uri: str | None = None) -> Model:
    """The model in a folder, or at `runs:/ID/model`, `models:/m-...`, `models:/name@alias` or `models:/name/3`.

    tracking_uri: where MLflow is; None follows the environment, as training does. A folder needs no MLflow.
    Raises CheckpointError where there is no whole model, AddressError where MLflow does not answer.
    """
    scheme, colon, _ = os.fspath(where).partition(":/")
    if colon and scheme in FETCHERS:
        with tempfile.TemporaryDirectory(prefix="distprop-model-") as place:
            fetch = importlib.import_module(FETCHERS[scheme]).fetch
            return load_folder(fetch(os.fspath(where), place, tracking_uri))
    return load_folder(where)
