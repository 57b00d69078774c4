"""A model out of a folder: described, its functions trusted, its shapes compared, and only then its weights taken."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.errors import CheckpointError
from distprop.model import folder as model_folder
from distprop.model.outline import light_outline_of, outline_of
from distprop.model.trained import Model
from distprop.trust import require_trusted


def load_folder(folder: str | os.PathLike[str], trust: Sequence[str] = ()) -> Model:
    """The model in a folder that `save` wrote, or in an MLflow model folder around one.

    trust: modules whose functions it may run. No memory is taken for more weights than the folder has.
    Raises CheckpointError where the folder holds no whole model or its weights are not those that were saved,
    TrustError where it names a function of a module that is not trusted.
    """
    views, description = model_folder.read(folder)
    require_trusted(description.get("layers"), folder, trust)
    outline = outline_of(description, folder)
    _require_shapes(outline.network.parameter_shapes, views, folder)
    flat = np.empty(outline.network.arena.size, np.float32)
    for name, view in outline.network.arena.views(flat).items():
        view[...] = views[name]
    model = replace(outline, flat=flat)
    _verify(model.digest, description.get("digest"), folder)
    return model


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
