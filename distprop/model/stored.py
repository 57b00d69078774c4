"""A model out of a folder: described, its functions trusted, its shapes compared, and only then its weights taken."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.checkpoint import MANIFEST, open_checkpoint
from distprop.errors import CheckpointError
from distprop.manifest import Manifest
from distprop.model import folder as model_folder
from distprop.model.outline import light_outline_of, outline_of
from distprop.model.trained import Model
from distprop.trust import require_trusted


def load_folder(folder: str | os.PathLike[str], trust: Sequence[str] = (), origin: object = None) -> Model:
    """The model in a folder that `save` wrote, in an MLflow model folder around one, or of a checkpoint.

    trust: modules whose functions it may run. origin: what errors call it, where that is not the folder.
    No memory is taken for more weights than the folder has.
    Raises CheckpointError where the folder holds no whole model or its weights are not those that were saved,
    TrustError where it names a function of a module that is not trusted.
    """
    if (Path(folder) / MANIFEST).is_file():
        return load_checkpoint(os.fspath(folder), trust)
    views, description = model_folder.read(folder)
    origin = origin or folder
    require_trusted(description.get("layers"), origin, trust)
    outline = outline_of(description, origin)
    _require_shapes(outline.network.parameter_shapes, views, origin)
    flat = np.empty(outline.network.arena.size, np.float32)
    for name, view in outline.network.arena.views(flat).items():
        view[...] = views[name]
    model = replace(outline, flat=flat)
    _verify(model.digest, description.get("digest"), origin)
    return model


def load_checkpoint(path: str, trust: Sequence[str] = ()) -> Model:
    """The model that a checkpoint's weights, or their average, make. Raises as `load_folder` does."""
    saved = open_checkpoint(path)
    if not saved.manifest.model:
        raise CheckpointError(
            f"checkpoint {path} does not say what its weights mean",
            "an earlier distprop wrote it",
            f"go on with it: distprop resume {path}",
        )
    require_trusted(saved.manifest.model, path, trust)
    metadata = {"version": saved.manifest.version, "metrics": _measured(saved.manifest)}
    described = {**saved.manifest.model, "metadata": {**saved.manifest.model.get("metadata", {}), **metadata}}
    outline, weights = outline_of(described, path), saved.kept()
    wanted = sum(math.prod(shape) for shape in outline.network.parameter_shapes.values())
    if wanted != weights.size:
        raise CheckpointError(
            f"the weights in {path} are not those of its layers",
            f"there are {weights.size:,}, and its layers have {wanted:,}",
            "load another checkpoint beside it",
        )
    return replace(outline, flat=weights)


def _measured(manifest: Manifest) -> dict[str, float]:
    """The last of each metric, and those of the version itself where it was evaluated."""
    own = [one["metrics"] for one in manifest.verdicts if one["version"] == manifest.version]
    return {**manifest.metrics, **(own[-1] if own else {})}


def load_outline(folder: str | os.PathLike[str]) -> tuple[Model, str]:
    """What goes into the model in a folder and comes out, without its weights, and their digest. Runs no code.

    Raises CheckpointError where the folder describes no model, TrustError as `load_folder` does.
    """
    description = model_folder.describe(folder)
    if description.get("output_shape") is None:  # an earlier distprop wrote it: its network will be built
        require_trusted(description.get("layers"), folder)
    return light_outline_of(description, folder), str(description.get("digest"))


def _require_shapes(wanted: Mapping[str, tuple[int, ...]], views: Mapping[str, NDArray[Any]], folder: object) -> None:
    found = {name: view.shape for name, view in views.items()}
    if wanted != found:
        odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise CheckpointError(
            f"the weights in {folder} are not those of its layers",
            f"{odd[0]} should have shape {wanted.get(odd[0])} and has {found.get(odd[0])}",
            "keep weights.safetensors and model.json of one model together",
        )


def _verify(actual: str, promised: object, folder: object) -> None:
    if actual != promised:
        raise CheckpointError(
            f"the weights in {folder} are not the ones that were saved",
            f"their digest is {actual}, model.json says {promised}",
            "the folder was damaged or changed: copy it again, or save the model again",
        )
