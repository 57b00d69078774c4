"""Layers made of layers in a row: one block, a block that is repeated, a way around.

A parameter's name within a container is that within a network: "0.dense.W".
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.chains import Chains
from distprop.nn.init import Draw
from distprop.nn.layer import Again, Backward, Context, Forward, Layer, spec_of
from distprop.nn.recompute import InTurn, recomputed
from distprop.nn.rows import TableUse
from distprop.nn.settings import require_flag, require_whole
from distprop.nn.stage import Stage, is_rectified, place_all

MOST_LAYERS = 10_000
"""In one repeat, with those inside of others: more is a mistake, or meant to take all memory."""

Shapes = tuple[Shape, dict[str, Shape]]


@dataclass(frozen=True)
class Block:
    """Layers in a row within a container; `prefix` is in front of their parameters' names.

    number: how many layers of the container come before its first. every: so many layers at a time are computed again
    on the way back; 0: none.
    """

    layers: tuple[Layer, ...]
    prefix: str = ""
    number: int = 0
    every: int = 0

    @cached_property
    def inside(self) -> int:
        """Layers, with those inside of them."""
        return sum(1 + layer.inside for layer in self.layers)

    @cached_property
    def undivided(self) -> bool:
        """Whether one of them is."""
        return any(layer.undivided for layer in self.layers)

    @cached_property
    def statistics(self) -> dict[str, float]:
        """As a layer's."""
        return {
            f"{self.prefix}{index}.{layer.name}.{name}": share
            for index, layer in enumerate(self.layers)
            for name, share in layer.statistics.items()
        }

    def chains(self, shape: Shape) -> Chains:
        """The layers over rows of `shape`. Raises ShapeError."""
        if shape not in self._chains:
            self._chains[shape] = Chains(place_all(self.layers, shape))
        return self._chains[shape]

    @cached_property
    def _chains(self) -> dict[Shape, Chains]:
        return {}

    def _run(self, shape: Shape) -> Chains | InTurn:
        if shape not in self._runs:
            chains = self.chains(shape)
            self._runs[shape] = InTurn(chains, self.every) if self.every else chains
        return self._runs[shape]

    @cached_property
    def _runs(self) -> dict[Shape, Chains | InTurn]:
        return {}

    def shapes(self, shape: Shape) -> Shapes:
        """As a layer's."""
        stages = self.chains(shape).stages
        parameters = {
            f"{self.prefix}{stage.name}.{name}": of
            for stage in stages
            for name, of in zip(stage.parameters, stage.parameter_shapes, strict=True)
        }
        return stages[-1].output_shape, parameters

    def flops(self, shape: Shape) -> int:
        """As a layer's."""
        return sum(stage.layer.flops(stage.input_shape) for stage in self.chains(shape).stages)

    def keeps(self, shape: Shape) -> int:
        """As a layer's."""
        stages = self.chains(shape).stages
        if self.every:
            return sum(math.prod(stage.output_shape) for stage in stages[self.every - 1 : -1 : self.every])
        return sum(map(_kept, stages))

    def again(self, shape: Shape) -> Again:
        """As a layer's."""
        stages = self.chains(shape).stages
        inside = [stage.layer.again(stage.input_shape) for stage in stages]
        flops, aside = sum(one.flops for one in inside), max(one.aside for one in inside)
        if self.every:
            flops += self.flops(shape)
            starts = range(0, len(stages), self.every)
            aside = max(
                sum(map(_kept, stages[at : at + self.every])) + max(one.aside for one in inside[at : at + self.every])
                for at in starts
            )
        return Again(flops, aside)

    def tables(self, shape: Shape) -> dict[str, TableUse]:
        """As a layer's."""
        return {
            f"{self.prefix}{stage.name}.{name}": TableUse(1 + self.number + stage.number + use.number, use.places)
            for stage in self.chains(shape).stages
            for name, use in stage.layer.tables(stage.input_shape).items()
        }

    def lend(self, p: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What a container has by parameter, as each of these layers has it."""
        starts = [f"{self.prefix}{index}.{layer.name}." for index, layer in enumerate(self.layers)]
        return [{name.removeprefix(start): p[name] for name in p if name.startswith(start)} for start in starts]

    def init(self, p: Params, draws: Mapping[str, Draw]) -> None:
        """As a layer's."""
        lent = zip(self.layers, self.lend(p), self.lend(draws), strict=True)
        for index, (layer, own, given) in enumerate(lent):
            rectified = is_rectified(self.layers[index + 1 :])
            layer.init(own, {name: replace(draw, rectified=rectified) for name, draw in given.items()})

    def forward(self, p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """As a layer's."""
        inner = ctx.but(layer=ctx.layer + 1 + self.number, written=None)
        y, backward = self._run(x.shape[1:]).forward(self.lend(p), x, inner)
        return y, lambda dy, g: backward(dy, self.lend(g))


def _kept(stage: Stage) -> int:
    return math.prod(stage.output_shape) + stage.layer.keeps(stage.input_shape)


def sequence(layers: Sequence[Layer], recompute: bool = False) -> Layer:
    """Layers in a row, as one.

    recompute, here and in the other containers: x alone is kept, and the way back computes all values within again.
    The bits are the same.
    """
    return _in_a_row("sequence", {"layers": specs(layers), "recompute": recompute}, layers, len(layers))


def repeat(times: int, layers: Sequence[Layer], recompute: bool = False) -> Layer:
    """The same layers `times` times in a row, each time with parameters of their own.

    recompute: each time for itself.
    """
    require_whole("repeat.times", times)
    if times * sum(1 + layer.inside for layer in layers) > MOST_LAYERS:
        raise ConfigError(
            f"`repeat.times` is {times:,}",
            f"that makes more than {MOST_LAYERS:,} layers",
            "repeat fewer times, or fewer layers",
        )
    settings = {"times": times, "layers": specs(layers), "recompute": recompute}
    return _in_a_row("repeat", settings, [*layers] * times, len(layers))


def residual(layers: Sequence[Layer], recompute: bool = False) -> Layer:
    """Give x + f(x), f being layers in a row that keep the shape (He et al. 2016, arXiv:1512.03385)."""
    block = Block(tuple(layers))

    def shapes(shape: Shape) -> Shapes:
        out, parameters = block.shapes(shape)
        if out != shape:
            raise ShapeError(
                f"rows of shape {shape} become {out} within",
                "what comes out of the layers of a residual is added to what goes in",
                "let its last layer give the input's shape",
            )
        return out, parameters

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        y, inner = block.forward(p, x, ctx.but(may_overwrite_input=False))
        y = np.add(x, y, out=ctx.buffer("y", x.shape))

        def backward(dy: Array, g: Params) -> Array | None:
            around = ctx.passing("around", dy.shape)
            np.copyto(around, dy)
            dx = inner(dy, g)
            return None if dx is None else np.add(around, dx, out=around)

        return y, backward

    made = container("residual", {"layers": specs(layers), "recompute": recompute}, [block], shapes, forward)
    return recomputing(made)


def _in_a_row(kind: str, settings: Mapping[str, Any], layers: Sequence[Layer], every: int) -> Layer:
    """every: so many of them at a time are computed again, where that is in the settings."""
    require_flag(f"{kind}.recompute", settings["recompute"])
    block = Block(tuple(layers), every=every if settings["recompute"] else 0)
    views = all(layer.output == "input" for layer in layers)
    made = container(kind, settings, [block], block.shapes, block.forward)
    return made._replace(output="input" if views else "kept")  # a layer inside may read its output again


def container(
    kind: str, settings: Mapping[str, Any], blocks: Sequence[Block], shapes: Callable[[Shape], Shapes], forward: Forward
) -> Layer:
    """A layer that is made of these blocks."""

    def start(p: Params, draws: Mapping[str, Draw]) -> None:
        for block in blocks:
            block.init(p, draws)

    undivided = any(block.undivided for block in blocks)
    return Layer(
        kind,
        settings,
        shapes,
        forward,
        start,
        flops=lambda shape: sum(block.flops(shape) for block in blocks),
        in_pieces=not undivided and any(layer.in_pieces for block in blocks for layer in block.layers),
        inside=sum(block.inside for block in blocks),
        undivided=undivided,
        ids=max(block.layers[0].ids for block in blocks),
        keeps=lambda shape: sum(block.keeps(shape) for block in blocks),
        again=lambda shape: _sum_up([block.again(shape) for block in blocks]),
        statistics={name: share for block in blocks for name, share in block.statistics.items()},
        tables=lambda shape: {name: use for block in blocks for name, use in block.tables(shape).items()},
        blocks=tuple(blocks),
    )


def recomputing(layer: Layer) -> Layer:
    """The container, computed again as one on the way back where its settings say so."""
    require_flag(f"{layer.kind}.recompute", layer.settings["recompute"])
    if not layer.settings["recompute"]:
        return layer

    def again(shape: Shape) -> Again:
        flops, aside = layer.again(shape)
        return Again(flops + layer.flops(shape), aside + layer.keeps(shape) + math.prod(layer.shapes(shape)[0]))

    return layer._replace(forward=recomputed(layer.forward), keeps=lambda shape: 0, again=again)  # noqa: ARG005


def _sum_up(costs: Sequence[Again]) -> Again:
    return Again(sum(one.flops for one in costs), max(one.aside for one in costs))


def specs(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """What makes the layers again."""
    return [spec_of(layer) for layer in layers]
