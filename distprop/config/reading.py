"""Strict YAML: values together with the line that each was written on.

YAML 1.2 by ruamel: `1e-3` is a number, `no` is a text, and a key given twice is an error.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from distprop.errors import ConfigError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A job as written, before it is checked, and where each of its values came from."""

    data: dict[str, Any]
    origin: str  # how errors name it: the file's path, or "the mapping"
    places: dict[Path, str] = field(default_factory=dict)  # path -> "configs/mnist.yaml, line 31"
    read_by_others: bool = False  # by a YAML reader that is not ours: numbers such as 3e-3 may have become text

    def place(self, path: Path) -> str:
        """Where the value at `path` was written, or else what contains it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.origin


def read_text(text: str, origin: str) -> Document:
    """The YAML text as a Document; ConfigError where it is no YAML, or no mapping."""
    try:
        data = YAML(typ="safe", pure=True).load(text)
        node = YAML(typ="safe", pure=True).compose(text)
    except DuplicateKeyError as error:
        raise _duplicate(error, origin) from error
    except YAMLError as error:
        raise _no_yaml(error, origin) from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{origin} holds no job",
            "a job is a YAML mapping with the keys data, model, loss, optimizer, train, ...",
            "write one with `distprop init FILE --target COLUMN`",
        )
    return Document(data, origin, {path: f"{origin}, line {line}" for path, line in _lines((), node)})


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Path and value of everything inside that is neither a mapping nor a list."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, (*path, key))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from leaves(part, (*path, index))
    else:
        yield path, value


def is_plain(value: Any) -> bool:
    """Whether a leaf is text, a finite number, true, false or null: what JSON can hold, too."""
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def read_value(text: str) -> Any:
    """One YAML value, as in `--set key=value`; ConfigError where it is no YAML."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise _no_yaml(error, f"--set value {text!r}") from error


def _lines(path: Path, node: Node) -> Iterator[tuple[Path, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(inner, value)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines((*path, index), value)


def _line(error: YAMLError) -> str:
    mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
    return f", line {mark.line + 1}" if mark is not None else ""


def _duplicate(error: DuplicateKeyError, origin: str) -> ConfigError:
    problem = str(error.problem)
    key = problem.split('"')[1] if '"' in problem else "?"
    return ConfigError(
        f"key `{key}` is given twice in {origin}{_line(error)}",
        "only one of the two values could be used, and nothing says which",
        "remove one of them",
    )


def _no_yaml(error: YAMLError, origin: str) -> ConfigError:
    reason = error.problem if isinstance(error, MarkedYAMLError) else error
    return ConfigError(
        f"{origin}{_line(error)} is no valid YAML",
        str(reason).strip(),
        "check indentation, colons, and quotes around texts with special characters",
    )
