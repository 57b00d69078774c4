"""A network: layers in a row over one arena."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arena import Arena, Slot, lay_out
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.chains import Chains
from distprop.nn.init import Draw
from distprop.nn.layer import Context, Layer, Place
from distprop.nn.layers import LayerSpec, build_layer, layer_spec
from distprop.nn.rows import RowGradients, TableUse
from distprop.nn.stage import Stage, place_all
from distprop.nn.summary import LayerSummary, summarize
from distprop.nn.workspace import Workspace

NetworkBackward = Callable[[Array, Array], Array | None]
"""(dy, g) -> dx or None: writes the gradients of all parameters into the flat g (P,); may overwrite dy.

Where the pass has `rows`, g is (G,), and tables have their gradients there.

Running statistics have those of the rows there, times rows.
"""


@dataclass(frozen=True)
class Pass:
    """One forward pass: where its memory comes from, and what follows it."""

    workspace: Workspace
    training: bool = False
    place: Place = field(default=Place())
    stack: Any = None  # of leaves that are computed together
    written: Callable[[int], None] | None = None
    """Hears, on the way back, from which value of the arena on the gradient is there."""
    input_gradient: bool = False
    watch: Any = None  # what sees the outputs of layers: an activity.Watch
    rows: Sequence[RowGradients] | None = None
    """Where the gradients of tables go, one for each in the arena's order: for gradients that have no room for them."""


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in a row. Holds no numbers: weights are a flat vector (P,), of float32 or, in checks, float64."""

    stages: tuple[Stage, ...]
    input_shape: Shape

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order."""
        return tuple(stage.layer for stage in self.stages)

    @property
    def output_shape(self) -> Shape:
        """The shape that one row has at the end."""
        return self.stages[-1].output_shape

    @property
    def specs(self) -> list[dict[str, Any]]:
        """Plain values that make the same network again, with `build_network`."""
        return [layer_spec(layer) for layer in self.layers]

    def __reduce__(self) -> tuple[Any, ...]:
        return build_network, (self.specs, self.input_shape)

    @cached_property
    def arena(self) -> Arena:
        """The layout of all parameters; views are named "{index}.{kind}.{parameter}"."""
        follows = {
            f"{stage.name}.{name}": share for stage in self.stages for name, share in stage.layer.statistics.items()
        }
        return lay_out(list(self.parameter_shapes.items()), follows, self.tables)

    @cached_property
    def parameter_shapes(self) -> dict[str, Shape]:
        """The shape of each parameter by its view's name; no memory is taken for them."""
        return {
            f"{stage.name}.{name}": shape
            for stage in self.stages
            for name, shape in zip(stage.parameters, stage.parameter_shapes, strict=True)
        }

    @cached_property
    def tables(self) -> dict[str, TableUse]:
        """The views whose gradients have the touched rows only, and how layers use them."""
        return {
            f"{stage.name}.{name}": TableUse(stage.number + use.number, use.places)
            for stage in self.stages
            for name, use in stage.layer.tables(stage.input_shape).items()
        }

    @cached_property
    def first_trained(self) -> int:
        """The index of the first layer that has parameters; gradients go no further down."""
        return self.chains.first_trained

    @cached_property
    def chains(self) -> Chains:
        """The stages as they are run together."""
        return Chains(self.stages)

    def summary(self) -> tuple[LayerSummary, ...]:
        """What each layer gives and costs, in order; a flatten that was put in front has its own line."""
        return summarize(self.stages, self.first_trained)

    def init(self, seed: int, flat: Array) -> None:
        """Fill flat (P,) with initial weights: a pure function of layers, input shape and seed."""
        for stage, p in zip(self.stages, self._lend(flat), strict=True):
            draws = {
                name: Draw(seed, stage.index, number, stage.rectified) for number, name in enumerate(stage.parameters)
            }
            stage.layer.init(p, draws)

    def predict(self, flat: Array, x: Array, workspace: Workspace | None = None) -> Array:
        """The raw outputs (N, *output_shape) of x (N, *input_shape), without dropout; an array of its own."""
        y, _ = self.forward(flat, x, Pass(workspace or Workspace()))
        return y.copy()

    def forward(self, flat: Array, x: Array, run: Pass) -> tuple[Array, NetworkBackward]:
        """Outputs of x (N, *input_shape) and the way back, once, before the workspace's next pass.

        flat (P,) is only read. Outputs lie in the workspace or are x's own memory. Raises ShapeError.
        """
        weights = run.workspace.views(flat, self._lend)
        wanted, place = run.input_gradient, run.place
        # x belongs to the caller
        ctx = Context(
            run.workspace, 0, flat.dtype, run.training, wanted, False, place, stack=run.stack, watch=run.watch
        )
        if run.rows is not None:
            places = zip(self.arena.tables, run.rows, strict=True)
            ctx.rows = {self.tables[slot.name].number: rows for slot, rows in places}
        if run.written is not None:
            ctx.written = self._told(run.written)
        y, backward = self.chains.forward(weights, self._as_input(x, flat.dtype), ctx)

        def back(dy: Array, g: Array) -> Array | None:
            dx = backward(dy, run.workspace.views(g, self._lend))
            return dx if wanted else None

        return y, back

    def _told(self, written: Callable[[int], None]) -> Callable[[int], None]:
        """`written`, told of stages by their first value."""
        return lambda stage: written(self._starts[stage])

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """Where the parameters of each stage begin, or those of the next one that has some."""
        sizes = [sum(slot.stop - slot.start for _, slot in slots if not slot.table) for slots in self._slots]
        return tuple(accumulate([0, *sizes[:-1]]))

    def _lend(self, flat: Array) -> list[Params]:
        """Each layer's parameters as views of flat (P,); of a gradient (G,), tables have no rows in theirs."""
        if flat.shape != (self.arena.gradient_size,):
            self.arena.require(flat)
        return [{name: _view(slot, flat) for name, slot in slots} for slots in self._slots]

    @cached_property
    def _slots(self) -> tuple[tuple[tuple[str, Slot], ...], ...]:
        """Of each stage its parameters' names, and where they are."""
        slots = {slot.name: slot for slot in self.arena.slots}
        return tuple(tuple((name, slots[f"{stage.name}.{name}"]) for name in stage.parameters) for stage in self.stages)

    def _as_input(self, x: Array, dtype: np.dtype[Any]) -> Array:
        if x.shape[1:] != self.input_shape or x.ndim == 0:
            raise ShapeError(
                f"layer {self.stages[0].name} was given an array of shape {x.shape}",
                f"this network takes rows of shape {self.input_shape}: (N, {', '.join(map(str, self.input_shape))})",
                "give it the features that it was built for",
            )
        return np.ascontiguousarray(x, dtype)


def _view(slot: Slot, flat: Array) -> Array:
    shape = slot.shape if slot.stop <= flat.size else (0, *slot.shape[1:])
    return flat[slot.start : slot.stop].reshape(shape)


def build_network(layers: Sequence[LayerSpec], input_shape: Sequence[int]) -> Network:
    """The network of these layers over rows of `input_shape`.

    A dense layer that comes first and gets rows of rank above 1 has a flatten put in front of it.
    Raises ConfigError for unknown names and settings, ShapeError where shapes do not fit.
    """
    built = [_build(index, spec) for index, spec in enumerate(layers)]
    if not built:
        raise ConfigError("a network without layers", "`model` is empty", "list at least one layer: {dense: 10}")
    shape = tuple(int(length) for length in input_shape)
    if built[0].kind == "dense" and len(shape) > 1:
        built.insert(0, build_layer("flatten"))
    return Network(place_all(built, shape), shape)


def _build(index: int, spec: LayerSpec) -> Layer:
    try:
        return build_layer(spec)
    except ConfigError as error:
        raise ConfigError(f"layer {index} of the model: {error.what}", error.why, error.fix) from None
