"""Settings as they come from a config: checked, and named in the error where they are wrong."""

import math
from typing import Any

from distprop.errors import ConfigError


def require_whole(name: str, value: Any) -> None:
    """Raise ConfigError unless value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"`{name}` is {value!r}", "it is a whole number of at least 1", f"write {name}: 64")


def require_number(name: str, value: Any, low: float, high: float = math.inf) -> None:
    """Raise ConfigError unless value is a finite number with low <= value < high."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < high:
        bounds = f"at least {low:g}" if high == math.inf else f"from {low:g} to below {high:g}"
        raise ConfigError(f"`{name}` is {value!r}", f"it is a number {bounds}", f"give `{name}` such a number")


def require_flag(name: str, value: Any) -> None:
    """Raise ConfigError unless value is true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"`{name}` is {value!r}", "it is true or false", f"write {name}: true")
