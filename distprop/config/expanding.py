"""`${VAR}` and `${VAR:-default}` in paths and addresses.

A job keeps them as written, so that nothing of a machine or of a secret is logged; whoever opens a path or an
address calls `expand` at that moment.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from distprop.config.reading import Path, leaves
from distprop.errors import ConfigError

VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")
EXPANDED = (
    ("data", "train"),
    ("data", "valid"),
    ("data", "test"),
    ("checkpoint", "dir"),
    ("tracking",),
    ("cluster", "address"),
    ("wire", "tls"),
)
"""The keys whose texts are expanded when they are used. Everywhere else `${` is an error."""


def expand(text: str) -> str:
    """The text with its variables replaced from the environment; ConfigError names one that is not set.

    As in a shell, `:-` gives a default for a variable that is unset or empty.
    """
    return VARIABLE.sub(lambda found: _value(text, found), text)


def _value(text: str, found: re.Match[str]) -> str:
    name, default = found[1], found[2]
    value = os.environ.get(name, "")
    if value:
        return value
    if default is not None:
        return default
    raise ConfigError(
        f"the environment variable {name} is not set",
        f"`{text}` in the job needs it",
        f"export {name}=..., or write ${{{name}:-default}}",
    )


def misplaced(data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Path and text of every `${` where none would ever be expanded."""
    for path, text in leaves(data):
        if isinstance(text, str) and "${" in text and not any(path[: len(key)] == key for key in EXPANDED):
            yield path, text
