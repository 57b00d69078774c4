"""One way in: a folder, or an address in MLflow."""

import importlib
import os
import tempfile
from collections.abc import Sequence

from distprop.model.stored import load_folder
from distprop.model.trained import Model
from distprop.system_errors import refusals, require_text

# Late, by name: what knows MLflow knows models too, and only who gives such an address needs MLflow.
FETCHERS = {"runs": "distprop.tracking.fetching", "models": "distprop.tracking.fetching"}


def load_model(where: str | os.PathLike[str], tracking_uri: str | None = None, *, trust: Sequence[str] = ()) -> Model:
    """The model in a folder, or at `runs:/ID/model`, `models:/m-...`, `models:/name@alias` or `models:/name/3`.

    The folder may be that of a checkpoint, such as checkpoints/JOB/0000001000: then it is the model of that version.
    tracking_uri: where MLflow is; None follows the environment, as training does. A folder needs no MLflow.
    trust: modules whose functions the model may run, such as those of your own layers; loading runs no other code.
    Raises CheckpointError where there is no whole model, TrustError where it names a function of another module,
    AddressError where MLflow does not answer.
    """
    with refusals(f"the model {os.fspath(where)} cannot be read"):
        return _loaded(where, tracking_uri, trust)


def _loaded(where: str | os.PathLike[str], tracking_uri: str | None, trust: Sequence[str]) -> Model:
    require_text(where)
    scheme, colon, _ = os.fspath(where).partition(":/")
    if colon and scheme in FETCHERS:
        with tempfile.TemporaryDirectory(prefix="distprop-model-") as place:
            fetch = importlib.import_module(FETCHERS[scheme]).fetch
            return load_folder(fetch(os.fspath(where), place, tracking_uri), trust, origin=where)
    return load_folder(where, trust)
