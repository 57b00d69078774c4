"""A model as a folder: weights.safetensors (named views) and model.json (all else). No pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from distprop.errors import CheckpointError

WEIGHTS = "weights.safetensors"
DESCRIPTION = "model.json"
FORMAT = 2  # 1: targets were never standardized

Views = Mapping[str, NDArray[Any]]


def write(folder: str | os.PathLike[str], views: Views, description: Mapping[str, Any]) -> Path:
    """Write both files, each whole or not at all; the description last: it vouches for the weights."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(view) for name, view in views.items()}
    partial = target / f".{WEIGHTS}.partial"
    save_file(arrays, partial)
    os.replace(partial, target / WEIGHTS)
    text = json.dumps({"format": FORMAT, **description}, indent=2, ensure_ascii=False) + "\n"
    partial = target / f".{DESCRIPTION}.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, target / DESCRIPTION)
    return target


def read(folder: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The named views and the description of a model folder, or of an MLflow model folder around one.

    Raises CheckpointError where this is no model, a file is missing or torn, or the format is a newer one.
    """
    inner, description = _locate(Path(folder)), describe(folder)
    if not (inner / WEIGHTS).is_file():
        raise CheckpointError(
            f"{inner} has no {WEIGHTS}", "there is no such file, or it is no plain one", "copy the folder again"
        )
    try:
        return load_file(inner / WEIGHTS), description
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"the weights of the model in {inner} cannot be read",
            str(error),
            "copy the folder again, or save the model again",
        ) from error


def describe(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The description alone. Raises CheckpointError as `read` does."""
    return _read_description(_locate(Path(folder)) / DESCRIPTION)


def _locate(folder: Path) -> Path:
    """The folder that holds model.json: this one, or the data of an MLflow model."""
    if (folder / DESCRIPTION).is_file():
        return folder
    inside = sorted(folder.glob(f"data/*/{DESCRIPTION}"))
    if len(inside) == 1:
        return inside[0].parent
    raise CheckpointError(
        f"{folder} is no saved model",
        f"there is no {DESCRIPTION} in it" if folder.is_dir() else "there is no such folder",
        "the folder that `model.save` wrote, one of a checkpoint (checkpoints/JOB/0000001000), or an address such as "
        "models:/m-... or runs:/RUN_ID/model",
    )


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = int(description["format"])
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise CheckpointError(
            f"{path} does not describe a model", str(error), "save the model again, or copy the folder again"
        ) from error
    if version > FORMAT:
        versions = description.get("versions")
        by = versions.get("distprop") if isinstance(versions, dict) else "of a later version"
        raise CheckpointError(
            f"{path} has format {version}, this distprop knows formats up to {FORMAT}",
            f"it was saved by distprop {by}",
            "upgrade distprop",
        )
    return dict(description)
