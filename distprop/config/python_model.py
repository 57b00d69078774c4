"""A model given as Python: `package.module:function`, which returns a list of layers."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distprop.config.job import Job
from distprop.config.loading import load_job
from distprop.errors import ConfigError


def with_layers(job: Job, input_shape: tuple[int, ...], outputs: int) -> Job:
    """The job with its model as a list of layers: itself, unless `model` names a function.

    The function is called as function(input_shape, outputs), with the shape of one row. Its module is found
    as usual, or beside the config file. The layers, not the function's name, are then in the recipe.
    """
    if not isinstance(job.model, str):
        return job
    layers = _function(job.model, job.folder)(input_shape, outputs)
    if not isinstance(layers, list | tuple):
        raise ConfigError(
            f"`model: {job.model}` returned a {type(layers).__name__}",
            "the function returns a list of layers as they are written in a config",
            'return for example [{"dense": 128}, "relu", {"dense": outputs}]',
        )
    return load_job(job, {"model": list(layers)}, in_memory=True)


def _function(name: str, folder: Path | None) -> Callable[[tuple[int, ...], int], Any]:
    module_name, _, attribute = name.partition(":")
    try:
        with _importable(folder):
            module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"cannot import the module of `model: {name}`",
            str(error),
            "install the package, or put the module beside the config file",
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(
            f"`model: {name}` names no function",
            f"{module_name} has no function {attribute}",
            "define it as function(input_shape, outputs) -> list of layers",
        )
    return function  # type: ignore[no-any-return]  # whatever a user's function gives is checked by the caller


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
