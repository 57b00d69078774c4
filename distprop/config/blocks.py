"""Blocks: layers that have a name, written once under `blocks` and used in `model` like a layer."""

from collections.abc import Mapping, Sequence
from typing import Any

from distprop.config.strict import problem
from distprop.suggest import suggest_name

Blocks = Mapping[str, Any]
SETTINGS = ("repeat", "recompute")
"""What can be said of a block where it is used."""


def written_out(model: Any, blocks: Blocks) -> Any:
    """A model with each block's layers in its place: as a `sequence`, or with `repeat: N` as a `repeat`.

    Blocks may use others. What is no list of layers is left to whoever looks at lists of layers.
    """
    return _layers(model, blocks, ()) if blocks else model


def _layers(specs: Any, blocks: Blocks, within: Sequence[str]) -> Any:
    if not isinstance(specs, list | tuple):
        return specs
    return [_layer(spec, blocks, within) for spec in specs]


def _layer(spec: Any, blocks: Blocks, within: Sequence[str]) -> Any:
    """A layer; of branches, a list of them. What is in a list within a layer's settings may be layers, too."""
    if isinstance(spec, list | tuple):
        return _layers(spec, blocks, within)
    if isinstance(spec, str):
        return _block(spec, {}, blocks, within) if spec in blocks else spec
    if not isinstance(spec, Mapping) or len(spec) != 1:
        return spec
    kind, settings = next(iter(spec.items()))
    if kind in blocks:
        return _block(kind, settings, blocks, within)
    if isinstance(settings, Mapping):
        return {kind: {name: _layers(value, blocks, within) for name, value in settings.items()}}
    return {kind: _layers(settings, blocks, within)}


def _block(name: str, settings: Any, blocks: Blocks, within: Sequence[str]) -> dict[str, Any]:
    if name in within:
        raise problem(
            f"block `{name}` uses itself",
            f"it is written out within {' within '.join(reversed(within))}, without end",
            "leave it out there, or give the block a name that no layer has",
        )
    given = _settings(name, settings)
    layers = _layers(blocks[name], blocks, (*within, name))
    if not isinstance(layers, list) or not layers:
        raise problem(f"block `{name}` is {layers!r}", "a block is a list of layers", "write them as the model's")
    more = {"recompute": given["recompute"]} if "recompute" in given else {}
    if "repeat" in given:
        return {"repeat": {"times": given["repeat"], "layers": layers, **more}}
    return {"sequence": {"layers": layers, **more}}


def _settings(name: str, settings: Any) -> Mapping[str, Any]:
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise problem(
            f"block `{name}` is given {settings!r}",
            f"where it is used it may have {' and '.join(SETTINGS)}",
            f"write `- {name}: {{repeat: 4}}`, or `- {name}` alone",
        )
    for key in settings:
        if key not in SETTINGS:
            raise problem(
                f"unknown setting {key!r} of block `{name}`",
                f"where it is used it may have {' and '.join(SETTINGS)}",
                suggest_name(str(key), SETTINGS),
            )
    return settings
