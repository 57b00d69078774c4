"""All layers by name: what a config can say, and what the tests hold to the laws."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distprop.errors import ConfigError
from distprop.nn.activations import elu, gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from distprop.nn.attention import attention
from distprop.nn.batch_norm import batch_norm
from distprop.nn.containers import repeat, residual, sequence
from distprop.nn.conv import conv1d, conv2d
from distprop.nn.custom import find_maker
from distprop.nn.dense import dense
from distprop.nn.dropout import dropout
from distprop.nn.embedding import embedding
from distprop.nn.flatten import flatten
from distprop.nn.global_pool import global_average_pool, global_max_pool
from distprop.nn.gru import gru
from distprop.nn.layer import Layer, spec_of
from distprop.nn.lstm import lstm
from distprop.nn.mask import mask
from distprop.nn.normalize import group_norm, layer_norm, rms_norm
from distprop.nn.parallel import parallel
from distprop.nn.pool import average_pool1d, average_pool2d, max_pool1d, max_pool2d
from distprop.nn.position import position
from distprop.nn.reshape import reshape
from distprop.nn.softmax import softmax
from distprop.suggest import suggest_name

LayerSpec = str | Mapping[str, Any] | Layer
"""A layer as a config writes it: "relu", {"dense": 256}, {"dense": {"width": 256}}; or a layer.

A name with a colon is that of a function of the user's that makes the layer: "my_layers:swish".
"""

ACCURACY = 2e-6
"""In float32, outputs and gradients of each layer lie within this of those of the same numbers in float64.

As a share of the largest of them, or of 1 where that is less, for inputs of the order of 1 and sums of some dozens of
products; with sums of n products it grows as sqrt(n).
"""

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
    "global_max_pool": global_max_pool,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "batch_norm": batch_norm,
    "embedding": embedding,
    "position": position,
    "mask": mask,
    "lstm": lstm,
    "gru": gru,
    "attention": attention,
    "sequence": sequence,
    "repeat": repeat,
    "residual": residual,
    "parallel": parallel,
}


def build_layer(spec: LayerSpec) -> Layer:
    """The layer that a spec describes. Raises ConfigError for an unknown name or setting."""
    if isinstance(spec, Layer):
        return spec
    kind, settings = _named(spec)
    make = find_maker(kind) if ":" in kind else LAYERS.get(kind)
    if make is None:
        raise ConfigError(f"unknown layer {kind!r}", f"there are: {', '.join(LAYERS)}", suggest_name(kind, LAYERS))
    arguments = _arguments(kind, make, settings)
    if "layers" in arguments:
        arguments["layers"] = _build_all(arguments["layers"], kind)
    if "branches" in arguments:
        branches = _listed(arguments["branches"], kind)
        arguments["branches"] = [_build_all(branch, kind) for branch in branches]
    return make(**arguments)


layer_spec = spec_of


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


def _build_all(specs: Any, kind: str) -> list[Layer]:
    return [build_layer(spec) for spec in _listed(specs, kind)]


def _listed(value: Any, kind: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ConfigError(
            f"{value!r} is no list of layers",
            f"layer {kind} is made of others, at least one",
            "write them as the model's: a list",
        )
    return list(value)


def _arguments(kind: str, make: Callable[..., Layer], settings: Any) -> dict[str, Any]:
    known = inspect.signature(make).parameters
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
