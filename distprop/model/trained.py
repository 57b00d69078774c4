"""`Model`: trained weights with everything that turns a user's rows into the user's labels or values."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from distprop import __version__
from distprop.data.features import Features
from distprop.data.input_check import GIVEN, finite_rows
from distprop.data.target_units import TargetUnits
from distprop.data.targets import Targets
from distprop.digest import block_digests, digest
from distprop.errors import DataError
from distprop.model import folder as model_folder
from distprop.nn.losses import Loss, build_loss
from distprop.nn.network import Network, build_network

ROWS_AT_ONCE = 4096  # bounds the memory of activations, whatever the number of rows asked for


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network; frozen, and its weights are read-only.

    layers: as in the job's `model:`, or built.  flat (P,) float32.  features, targets: what `Features.to_json` and
    `Targets.to_json` gave.  metadata: whatever should travel along, as JSON.  output_shape: that of the network, where
    it is known without building it.
    """

    layers: Sequence[Any]
    input_shape: tuple[int, ...]
    flat: NDArray[np.float32]
    features: Mapping[str, Any]
    targets: Mapping[str, Any]
    loss: str | Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    output_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        weights = np.array(self.flat, dtype=np.float32)
        weights.flags.writeable = False
        object.__setattr__(self, "flat", weights)
        object.__setattr__(self, "input_shape", tuple(self.input_shape))

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (
            self.layers,
            self.input_shape,
            self.flat,
            self.features,
            self.targets,
            self.loss,
            self.metadata,
        )
        return Model, parts

    @cached_property
    def network(self) -> Network:
        """The network that the weights belong to."""
        return build_network(self.layers, self.input_shape)

    @cached_property
    def fitted_features(self) -> Features:
        """The fitted preprocessing."""
        return Features.from_json(self.features)

    @cached_property
    def target_units(self) -> TargetUnits | None:
        """How the target was standardized; None where it was not."""
        return Targets.from_json(self.targets).units

    @property
    def predicted_dtype(self) -> np.dtype[Any]:
        """The type of what `predict` gives in a regression: that of float64 where a target was standardized."""
        return np.dtype(np.float64 if self.target_units else np.float32)

    @property
    def predicted_shape(self) -> tuple[int, ...]:
        """The shape of what `predict` gives of one row of a regression: () for one value."""
        width = self.fitted_loss.predicted_width((self.output_shape or self.network.output_shape)[-1])
        return () if width == 1 else (width,)

    @cached_property
    def digest(self) -> str:
        """The digest of the weights: equal digests, equal bits."""
        return digest(block_digests(self.flat, self.network.arena.blocks))

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels (K,), in the order of `predict_proba`'s columns, of the users' own type."""
        if self._task == "regression":  # AttributeError, so that hasattr tells classifiers from regressors
            raise AttributeError(f"a model trained with {self.fitted_loss.name} predicts values and has no classes_")
        return np.asarray(Targets.from_json(self.targets).classes)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """What the columns of `predict` are quantiles of the target at; empty, where they are something else."""
        return self.fitted_loss.quantiles

    def predict(self, x: Any) -> NDArray[Any]:
        """Labels (N,), or values (N,) or (N, outputs) in a regression.

        x: a numpy array of the one feature column's values, or of all columns side by side; a pandas frame, a
        pa.Table or a dict of columns, by name. Raises DataError where x does not fit.
        """
        return self.answers(self.predict_raw(x))

    def answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """What `predict` gives of raw outputs (N, outputs)."""
        if self._task == "regression":
            values = self.fitted_loss.predicted(outputs)
            return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        binary = self._task == "binary"
        places = (outputs.reshape(len(outputs)) > 0).astype(np.intp) if binary else outputs.argmax(axis=1)
        return np.take(self.classes_, places)

    def predict_proba(self, x: Any) -> NDArray[Any]:
        """The probability of each class, (N, K) float32. Raises DataError for a regression."""
        return self.probabilities(self.predict_raw(x) if self._task != "regression" else np.empty(0, np.float32))

    def probabilities(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """What `predict_proba` gives of raw outputs (N, outputs). Raises DataError for a regression."""
        if self._task == "regression":
            _no_probabilities(self.fitted_loss.name)
        shares: NDArray[Any] = self.fitted_loss.activation(outputs)
        if self._task == "binary":
            second = shares.reshape(len(shares))
            return np.stack([1 - second, second], axis=1)
        return shares

    def predict_raw(self, x: Any) -> NDArray[Any]:
        """What the last layer gives, (N, outputs) float32: logits; of `gaussian` means, then log variances.

        About a standardized target they are in its own units, float64: means, quantiles, logarithms of its variance.

        Raises DataError where a row's outputs are not finite.
        """
        outputs = self.predict_prepared(self.prepare(x))
        far = np.flatnonzero(~finite_rows(outputs))
        if far.size:
            raise self.overflow_error(f"{far[0]} of {GIVEN}")
        return outputs

    def overflow_error(self, row: str) -> DataError:
        """A row, in words, of which the network makes something that is not finite."""
        return DataError(
            f"the model has no finite answer to row {row}",
            "its values lie so far from those of training that float32 overflows",
            "correct or remove the row",
        )

    def prepare(self, x: Any) -> NDArray[np.float32]:
        """X as the network takes it, (N, *input_shape) float32: named, checked and preprocessed."""
        return self.fitted_features.apply(x)

    def predict_prepared(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        """Raw outputs of rows (N, *input_shape) that need no more preprocessing, in the target's units."""
        outputs = np.empty((len(rows), *self.network.output_shape), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # outputs that are not finite are told, not warned of
            for start in range(0, len(rows), ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                outputs[part] = self.network.predict(self.flat, rows[part])
        units, in_units = self.target_units, self.fitted_loss.in_units
        return in_units(outputs, *units.arrays) if units and in_units else outputs

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model into a folder and return its path; see `distprop.model.save`."""
        return save(self, folder)

    @property
    def fitted_loss(self) -> Loss:
        """The loss that it was trained with."""
        return build_loss(self.loss)

    @property
    def _task(self) -> str:
        return self.fitted_loss.task


def save(model: Model, folder: str | os.PathLike[str]) -> Path:
    """Write weights.safetensors and model.json into `folder`, made if missing. Returns its path."""
    description = {
        "versions": {"distprop": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "digest": model.digest,
        "input_shape": list(model.input_shape),
        "layers": model.network.specs,
        "output_shape": list(model.network.output_shape),
        "shapes": {slot.name: list(slot.shape) for slot in model.network.arena.slots},
        "loss": model.loss,
        "features": dict(model.features),
        "targets": dict(model.targets),
        "metadata": dict(model.metadata),
    }
    return model_folder.write(folder, model.network.arena.views(model.flat), description)


def _no_probabilities(loss: str) -> NoReturn:
    raise DataError("this model has no probabilities", f"it was trained with {loss} and predicts values", "use predict")
