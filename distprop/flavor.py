"""The MLflow flavor: a model folder as a pyfunc without pickle.

MLflow copies the folder that `distprop.model.save` wrote, with the source that reads it: `distprop.pyfunc_loader` and
the package. So the model loads with `mlflow.pyfunc.load_model` in a process without Ray, where
MLFLOW_ALLOW_PICKLE_DESERIALIZATION is false, and where distprop is not installed.
"""

import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop import __version__, pyfunc_loader
from distprop.data.columns import Column
from distprop.model.stored import load_folder, load_outline
from distprop.model.trained import Model
from distprop.source_archive import write_source
from distprop.tracking.address import settle_environment

LOADER = "distprop_loader"
"""What `distprop.pyfunc_loader` is called beside a model, where it stands alone."""

PINNED = ("numpy", "pyarrow", "safetensors", "pandas")
EXAMPLE_ROWS = 2
NUMBERS = {
    "b": "boolean",
    "i": "long",
    "u": "long",
    "f": "double",
}  # NumPy's kind -> the widest of MLflow's types


class Predictor:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> NDArray[Any]:
        """Labels or values (N,). params: {"output": "label" | "proba" | "raw"}, label unless told."""
        output = (params or {}).get("output", "label")
        if output == "proba":
            return self.model.predict_proba(data)
        return self.model.predict_raw(data) if output == "raw" else self.model.predict(data)


def load_predictor(path: str) -> Predictor:
    """The predictor of a model folder. Raises CheckpointError where it holds no whole model."""
    return Predictor(load_folder(path))


_load_pyfunc = load_predictor
"""Models that were logged before they carried their code name this as their loader."""


def save_model(
    model_folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    run_id: str | None = None,
    model_id: str | None = None,
) -> Path:
    """Write the model in `model_folder` as an MLflow model into the new folder `path`.

    No network is asked, nothing is imported to find requirements: they are pinned to what is installed here.
    """
    settle_environment()
    import mlflow.pyfunc
    from mlflow.models import Model as MlflowModel

    model, digest = load_outline(model_folder)
    described = MlflowModel(run_id=run_id, model_id=model_id, model_uuid=model_id)
    described.metadata = {"distprop_version": __version__, "digest": digest}
    with tempfile.TemporaryDirectory() as place:
        mlflow.pyfunc.save_model(
            str(path),
            loader_module=LOADER,
            data_path=str(model_folder),
            code_paths=[str(file) for file in _code(Path(place))],
            mlflow_model=described,
            signature=signature(model),
            input_example=input_example(model),
            pip_requirements=requirements(),
        )
    return Path(path)


def _code(place: Path) -> tuple[Path, Path]:
    """The loader and the package, in the folder `place`."""
    loader = place / f"{LOADER}.py"
    shutil.copyfile(pyfunc_loader.__file__, loader)
    return loader, write_source(place / pyfunc_loader.ARCHIVE)


def requirements() -> list[str]:
    """What the model needs beside the code that travels with it, pinned to what is installed here."""
    return [f"{name}=={version(name)}" for name in PINNED if _installed(name)]


def signature(model: Model) -> Any:
    """A tensor signature, in the stored type and shape, for a single column of arrays; columns otherwise."""
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    columns = model.fitted_features.columns
    if _is_tensor(columns):
        only = columns[0]
        inputs = Schema([TensorSpec(np.dtype(only.dtype), (-1, *only.shape))])
    else:
        inputs = Schema([_column_spec(column) for column in columns])
    params = ParamSchema([ParamSpec("output", "string", "label")])
    return ModelSignature(inputs=inputs, outputs=_outputs(model), params=params)


def input_example(model: Model) -> Any:
    """A few rows as the model takes them: its metadata's `example`, else zeros and the first words it knows.

    In the metadata: column -> list of values. Returns an array or a pandas frame.
    """
    columns = model.fitted_features.columns
    rows = model.metadata.get("example") or {}
    values = {column.name: _example(model, column, rows.get(column.name)) for column in columns}
    if _is_tensor(columns):
        return values[columns[0].name]
    import pandas as pd

    return pd.DataFrame({name: list(found) if found.ndim > 1 else found for name, found in values.items()})


def _example(model: Model, column: Column, rows: Any) -> NDArray[Any]:
    if column.kind == "text":
        return np.asarray(rows if rows is not None else [str(_known(model, column, ""))] * EXAMPLE_ROWS, dtype=object)
    dtype = np.dtype(column.dtype)
    if column.kind == "number":  # widened as in the signature
        dtype = np.dtype({"b": np.bool_, "f": np.float64}.get(dtype.kind, np.int64))
    if rows is None:
        return np.full((EXAMPLE_ROWS, *column.shape), _known(model, column, 0), dtype)
    if column.missing:
        dtype = np.dtype(np.float64)
    return np.asarray(rows, dtype).reshape(len(rows), *column.shape)


def _known(model: Model, column: Column, otherwise: str | float) -> str | float:
    """A category that the column knows; `otherwise` where it has none."""
    for feature in model.fitted_features.features:
        for transform in feature.transforms:
            categories = transform.settings.get("values") or ()
            if feature.column.name == column.name and categories:
                return categories[0]  # type: ignore[no-any-return]
    return otherwise


def _is_tensor(columns: tuple[Column, ...]) -> bool:
    return len(columns) == 1 and columns[0].kind == "list" and columns[0].padding is None


def _column_spec(column: Column) -> Any:
    from mlflow.types import ColSpec
    from mlflow.types.schema import Array, DataType

    if column.kind == "text":
        return ColSpec(DataType.string, column.name)
    kind = "double" if column.missing else NUMBERS[np.dtype(column.dtype).kind]
    numbers: Any = DataType[kind]
    for _ in column.shape:
        numbers = Array(numbers)
    return ColSpec(numbers, column.name)


def _outputs(model: Model) -> Any:
    from mlflow.types import ColSpec, Schema, TensorSpec
    from mlflow.types.schema import DataType

    if not hasattr(model, "classes_"):
        return Schema([TensorSpec(model.predicted_dtype, (-1, *model.predicted_shape))])
    labels = model.classes_
    if labels.dtype.kind not in "biuf":
        return Schema([ColSpec(DataType.string)])
    return Schema([TensorSpec(labels.dtype, (-1,))])


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
