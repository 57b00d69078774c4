"""A user's own functions, named as `package.module:function`."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distprop.errors import ConfigError

FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""What names a function: no other text is looked up."""


def find_function(key: str, name: str, signature: str) -> Callable[..., Any]:
    """The function that `name` stands for, as `package.module:function`; its module may be in the current folder.

    key: what names it in the config. signature: what such a function looks like, for whoever has to write it.
    Raises ConfigError.
    """
    if not FUNCTION.fullmatch(name):
        raise ConfigError(
            f"`{key}: {name}` names no function",
            "a module's name, a colon and a function's name are meant",
            "write it as package.module:function",
        )
    module_name, _, attribute = name.partition(":")
    if module_name == "__main__":
        raise ConfigError(
            f"`{key}: {name}` names a function of the script or notebook itself",
            "jobs run in other processes, which do not run the script",
            f"put it into a module beside the script, such as my_nets.py, and write `my_nets:{attribute}`",
        )
    try:
        with importable(Path.cwd()):
            module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"cannot import the module of `{key}: {name}`",
            str(error),
            "install its package on every host, or put the module beside the config file",
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(
            f"`{key}: {name}` names no function",
            f"{module_name} has no function {attribute}",
            f"define it as function{signature}",
        )
    return function  # type: ignore[no-any-return]  # whatever a user's function gives is checked by the caller


@contextmanager
def importable(folder: Path | str | None) -> Iterator[None]:
    """Within it modules in `folder` can be imported, too; before all others."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
