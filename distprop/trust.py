"""Code that a file names. A model or a checkpoint runs none, unless whoever loads it trusts the module it is in.

A job that a person wrote may name any function: `model: my_nets:build`, `{"my_layers:swish": {}}`. The same names in a
file that came from elsewhere would let its author call whatever is installed here, such as `os:system`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distprop.errors import TrustError
from distprop.importing import FUNCTION, find_function

VARIABLE = "DISTPROP_TRUST"
"""Modules that all of this process trusts, separated by commas: for servers, which take no arguments."""


def require_trusted(named: Any, origin: object, trust: Sequence[str] = ()) -> None:
    """Raise TrustError where `named`, plain values out of `origin`, names a function of a module that is not trusted.

    trust: names of modules; one that is in a trusted package is trusted. A trusted module's function must be its own:
    what it has imported from elsewhere is trusted by that module's name.
    """
    trusted = (*trust, *(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()))
    for name in sorted(set(function_names(named))):
        module = name.partition(":")[0]
        if not _is_within(module, trusted):
            raise _untrusted(origin, name, module)
        made_in = _home(find_function("layer", name, "(its settings) -> distprop.nn.layer.Layer"))
        if not _is_within(made_in or module, trusted):
            raise _untrusted(origin, f"{name}, which is a function of {made_in}", str(made_in))


def function_names(values: Any) -> Iterator[str]:
    """Every text within plain values that could be the name of a function: keys, too."""
    left = [values]  # no recursion: a file may be nested as deep as its author likes
    while left:
        value = left.pop()
        if isinstance(value, str):
            if FUNCTION.fullmatch(value):
                yield value
        elif isinstance(value, Mapping):
            left.extend(value.keys())
            left.extend(value.values())
        elif isinstance(value, list | tuple):
            left.extend(value)


def modules_of(values: Any) -> tuple[str, ...]:
    """The modules of all functions that these values name: to trust what a person's own job has written."""
    return tuple(sorted({name.partition(":")[0] for name in function_names(values)}))


def _home(function: Any) -> str | None:
    """The module that a function or a class was made in; None of other things that can be called."""
    own = isinstance(function, type) or hasattr(function, "__qualname__")
    return str(function.__module__) if own else None


def _is_within(module: str, trusted: Sequence[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in trusted)


def _untrusted(origin: object, name: str, module: str) -> TrustError:
    return TrustError(
        f"{origin} wants to run {name}",
        f"a file that came with a model or a checkpoint runs no code, and module {module} is not trusted",
        f"if you know that module and who wrote the file, load it with trust=[{module!r}], `--trust {module}`, "
        f"or {VARIABLE}={module} in the environment",
    )
