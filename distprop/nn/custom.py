"""Layers of the user's own: functions that make them, named as `package.module:function`."""

from collections.abc import Callable

from distprop.errors import ConfigError
from distprop.importing import find_function
from distprop.nn.layer import Layer


def find_maker(kind: str) -> Callable[..., Layer]:
    """The function that makes layers of this kind. Raises ConfigError."""
    function = find_function("layer", kind, "(its settings) -> distprop.nn.layer.Layer")

    def make(**settings: object) -> Layer:
        made = function(**settings)
        if not isinstance(made, Layer):
            raise ConfigError(
                f"layer {kind} is a {type(made).__name__}",
                "the function that a layer is named by returns a distprop.nn.layer.Layer",
                "see docs/layers.md for one that does",
            )
        return made._replace(kind=kind, settings=settings)  # what makes it again, wherever it is sent

    make.__wrapped__ = function  # type: ignore[attr-defined]  # so that its settings are those of the function
    return make
