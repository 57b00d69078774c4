"""A model as its description has it, without weights: checked, and no larger in memory than the file is."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from distprop.data.features import Features
from distprop.data.targets import Targets
from distprop.errors import CheckpointError, ShapeError
from distprop.model.trained import Model
from distprop.nn.leaf import require_outputs
from distprop.nn.losses import Loss
from distprop.nn.network import Network

NO_MODEL = ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, StopIteration
"""What values raise that are not of the kind that was saved."""

MOST_VALUES = 2**28
"""Of one row, in front of the network or between its layers: a gigabyte."""


def outline_of(description: Mapping[str, Any], origin: object) -> Model:
    """The model that model.json describes, with no weights yet.

    Builds its network, so the functions that it names have to be trusted before. Raises CheckpointError, or another
    UserError, where nothing can be predicted with it.
    """
    try:
        model = _described(description)
        _require_network(model)
    except KeyError as error:
        raise _no_model(origin, f"{error} is missing") from error
    except NO_MODEL as error:
        raise _no_model(origin, f"{type(error).__name__}: {error!s:.200}") from error
    return model


def light_outline_of(description: Mapping[str, Any], origin: object) -> Model:
    """The same where only what goes in and comes out is asked for: its network is not built, so no code is run."""
    try:
        return _described(description)
    except NO_MODEL as error:
        raise _no_model(origin, f"{type(error).__name__}: {error!s:.200}") from error


def _described(description: Mapping[str, Any]) -> Model:
    parts = {key: description[key] for key in ("layers", "input_shape", "features", "targets", "loss")}
    parts["input_shape"] = tuple(_length(one) for one in parts["input_shape"])
    metadata = dict(description.get("metadata", {}))
    shape = description.get("output_shape")
    return Model(
        flat=np.empty(0, np.float32),
        metadata=metadata,
        output_shape=None if shape is None else tuple(_length(one) for one in shape),
        **parts,
    )


def _length(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r:.80} is no length of an axis")
    return value


def _require_network(model: Model) -> None:
    network, features, targets = model.network, model.fitted_features, Targets.from_json(model.targets)
    _require_modest(network)
    _require_rows(features, network)
    _require_task(network, model.fitted_loss, targets)


def _require_modest(network: Network) -> None:
    shapes = [network.input_shape, *(stage.output_shape for stage in network.stages)]
    largest = max(shapes, key=math.prod)
    if math.prod(largest) > MOST_VALUES:
        raise ShapeError(
            f"the model has rows of shape {largest}",
            f"each of them would take {4 * math.prod(largest):,} bytes; {4 * MOST_VALUES:,} are the most",
            "its model.json was damaged or made to take all memory: copy it again",
        )


def _require_rows(features: Features, network: Network) -> None:
    """No row at all goes through the preprocessing, and fits."""
    rows = {column.name: np.empty((0, *column.shape), column.raw_dtype) for column in features.columns}
    found = features.apply_raw(rows).shape[1:]
    if found != network.input_shape:
        raise ValueError(f"its features have rows of shape {found}, its network takes {network.input_shape}")


def _require_task(network: Network, loss: Loss, targets: Targets) -> None:
    if targets.task != loss.task:
        raise ValueError(f"its loss {loss.name} is for {loss.task}, its targets for {targets.task}")
    if targets.units and loss.in_units is None:
        raise ValueError(f"its loss {loss.name} is not about standardized values, and its target is standardized")
    count = targets.column.width if loss.task == "regression" else len(targets.classes or ())
    require_outputs(network, loss, count)


def _no_model(origin: object, why: str) -> CheckpointError:
    return CheckpointError(
        f"{origin} does not describe a whole model", why, "save the model again, or copy the folder again"
    )
