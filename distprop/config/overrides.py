"""`--set a.b=c`: changes to a job before it is checked."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distprop.config.plain_values import plain
from distprop.config.reading import Document, Path, read_value
from distprop.errors import ConfigError

Overrides = Mapping[str, Any] | Sequence[str]


def override(document: Document, overrides: Overrides) -> Document:
    """A document with each override set, in order.

    overrides: {"train.epochs": 3} with plain values, or ["train.epochs=3"] with values in YAML. Numbers in a
    path are places in a list. What is replaced may be of another form: the whole job is checked later.
    """
    data, places = copy.deepcopy(document.data), dict(document.places)
    for key, value, text in _parsed(overrides):
        path = _set(data, key.split("."), value, text)
        places = {at: place for at, place in places.items() if at[: len(path)] != path}
        places[path] = text
    return replace(document, data=data, places=places)


def _parsed(overrides: Overrides) -> Iterable[tuple[str, Any, str]]:
    if isinstance(overrides, Mapping):
        return [(key, copy.deepcopy(plain(value)), f"override {key!r}") for key, value in overrides.items()]
    return [_parse(text) for text in overrides]


def _parse(text: str) -> tuple[str, Any, str]:
    key, equals, value = text.partition("=")
    if not equals or not all(part for part in key.strip().split(".")):
        raise ConfigError(
            f"`--set {text}` sets nothing",
            "an override is a key, `=` and a value in YAML",
            "write for example `--set train.epochs=3` or `--set optimizer.clip_norm=null`",
        )
    return key.strip(), read_value(value), f"--set {text}"


def _set(data: dict[str, Any], parts: list[str], value: Any, text: str) -> Path:
    """Put the value at the end of the path, making mappings on the way; return the path."""
    at: Any = data
    path: list[str | int] = []
    for number, part in enumerate(parts):
        key = _place(at, part, text)
        path.append(key)
        if number == len(parts) - 1:
            at[key] = value
        else:
            at = _inside(at, key)
    return tuple(path)


def _inside(at: Any, key: str | int) -> Any:
    """The mapping or list at `key`; anything else that is there gives way to an empty mapping."""
    inner = at.get(key) if isinstance(at, dict) else at[key]
    if not isinstance(inner, dict | list):
        inner = at[key] = {}
    return inner


def _place(at: Any, part: str, text: str) -> str | int:
    if not isinstance(at, list):
        return part
    if part.isdecimal() and int(part) < len(at):
        return int(part)
    raise ConfigError(
        f"there is no place {part} in the list that `{text}` goes into",
        f"the list has {len(at)} entries, counted from 0",
        f"use a number from 0 to {len(at) - 1}, or set the whole list",
    )
