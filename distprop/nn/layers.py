"""All layers by name: what a config can say, and what the tests hold to the laws."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distprop.errors import ConfigError
from distprop.nn.activations import elu, gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from distprop.nn.conv import conv1d, conv2d
from distprop.nn.dense import dense
from distprop.nn.dropout import dropout
from distprop.nn.flatten import flatten
from distprop.nn.layer import Layer
from distprop.nn.pool import average_pool1d, average_pool2d, global_average_pool, max_pool1d, max_pool2d
from distprop.nn.reshape import reshape
from distprop.nn.softmax import softmax
from distprop.suggest import suggest_name

LayerSpec = str | Mapping[str, Any] | Layer
"""A layer as a config writes it: "relu", {"dense": 256}, {"dense": {"width": 256}}; or a layer."""

LAYERS: Mapping[str, Callable[..., Layer]] = {
    "dense": dense,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "gelu": gelu,
    "silu": silu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "softmax": softmax,
    "dropout": dropout,
    "flatten": flatten,
    "reshape": reshape,
    "conv2d": conv2d,
    "conv1d": conv1d,
    "max_pool2d": max_pool2d,
    "max_pool1d": max_pool1d,
    "average_pool2d": average_pool2d,
    "average_pool1d": average_pool1d,
    "global_average_pool": global_average_pool,
}


def build_layer(spec: LayerSpec) -> Layer:
    """The layer that a spec describes. Raises ConfigError for an unknown name or setting."""
    if isinstance(spec, Layer):
        return spec
    kind, settings = _named(spec)
    if kind not in LAYERS:
        raise ConfigError(f"unknown layer {kind!r}", f"there are: {', '.join(LAYERS)}", suggest_name(kind, LAYERS))
    return LAYERS[kind](**_arguments(kind, settings))


def layer_spec(layer: Layer) -> dict[str, Any]:
    """The spec that makes this layer again; plain values, as JSON and YAML have them."""
    return {layer.kind: dict(layer.settings)}


def _named(spec: str | Mapping[str, Any]) -> tuple[str, Any]:
    if isinstance(spec, str):
        return spec, None
    if isinstance(spec, Mapping) and len(spec) == 1:
        kind, settings = next(iter(spec.items()))
        return str(kind), settings
    raise ConfigError(
        f"{spec!r} is no layer",
        "a layer is a name, or one name with its settings",
        'write "relu", or {"dense": {"width": 128}}',
    )


def _arguments(kind: str, settings: Any) -> dict[str, Any]:
    known = inspect.signature(LAYERS[kind]).parameters
    if settings is None:
        settings = {}
    if not isinstance(settings, Mapping):
        settings = {next(iter(known), str(settings)): settings}
    for name in settings:
        if name not in known:
            why = f"{kind} has {', '.join(known)}" if known else f"{kind} has no settings"
            raise ConfigError(f"unknown setting {name!r} of layer {kind}", why, suggest_name(str(name), known))
    for name, parameter in known.items():
        if name not in settings and parameter.default is parameter.empty:
            raise ConfigError(f"layer {kind} lacks its {name}", "", f"write {{{kind}: {{{name}: ...}}}}")
    return dict(settings)
