"""What a person's own Python gives in a job, as plain values; and numbers that another YAML reader left as text."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from distprop.config.reading import Document, Path, leaves
from distprop.errors import ConfigError

EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")
"""A number in YAML 1.2 and JSON, which a reader of YAML 1.1 such as `yaml.safe_load` leaves as text: 3e-3, 1e5."""

OF_NUMBERS = (("model",), ("loss",), ("metrics",), ("optimizer",), ("data", "augment"))
"""Keys with free settings, of which none has a text that looks like such a number."""

NUMERIC_TRANSFORMS = ("scale", "log", "standardize", "pad")
"""Transforms of `data.features` whose settings are numbers. Those of the others may be a column's own values."""


def plain(value: Any) -> Any:
    """The value with plain ones in place of NumPy's numbers and arrays, paths, layers, and functions of a module.

    float32(0.01) is the number that it holds: 0.00999999977648258. What has no plain form stays as it is.
    Raises ConfigError for a function that no other process can find.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(part) for key, part in value.items()}
    if callable(getattr(value, "as_config", None)):  # a layer
        return plain(value.as_config())
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else list(map(plain, value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if callable(getattr(value, "tolist", None)):  # a number or an array of NumPy, or of what follows it
        return value.tolist()
    if callable(value) and hasattr(value, "__qualname__"):
        return _function_name(value)
    return value


def _function_name(function: Any) -> str:
    """A function as a job names it: `package.module:function`. Raises ConfigError."""
    name, module = function.__qualname__, function.__module__
    if module == "__main__" or not name.isidentifier():
        wanted = f"my_nets:{name if name.isidentifier() else 'build'}"
        raise ConfigError(
            f"the function {name} cannot be found by other processes",
            "it is defined in the script or notebook itself, or has no name of its own in its module",
            f"put it at the top of a module beside the script, such as my_nets.py, and write `{wanted}`",
        )
    return f"{module}:{name}"


def with_numbers(document: Document, error: ValidationError) -> Document | None:
    """The document with numbers where one was wanted and a text such as "3e-3" was given; None where there is none."""
    wrong = [
        one["loc"]
        for one in error.errors(include_url=False)
        if one["type"] == "float_type" and _has_exponent(one["input"])
    ]
    paths = {tuple(part for part in place if not str(part).startswith("<")) for place in wrong}
    return replace(document, data=_numbered(document.data, paths)) if paths else None


def with_numbers_in_settings(document: Document) -> Document:
    """The same for settings that are looked at only where layers, losses and optimizers are built."""
    paths = {path for path, value in leaves(document.data) if _has_exponent(value) and _of_numbers(path)}
    return replace(document, data=_numbered(document.data, paths))


def _has_exponent(value: Any) -> bool:
    return isinstance(value, str) and EXPONENT.fullmatch(value) is not None


def _of_numbers(path: Path) -> bool:
    if any(path[: len(key)] == key for key in OF_NUMBERS):
        return True
    return path[:2] == ("data", "features") and any(part in NUMERIC_TRANSFORMS for part in path[3:])


def _numbered(value: Any, paths: Collection[Path], path: Path = ()) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbered(part, paths, (*path, key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(part, paths, (*path, place)) for place, part in enumerate(value)]
    return float(value) if path in paths else value
