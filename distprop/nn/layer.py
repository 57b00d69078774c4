"""What a layer is: data. Its functions get parameters, gradients and memory lent by the caller."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop import philox
from distprop.errors import ConfigError
from distprop.nn.arrays import BLOCK, Array, Params, Shape
from distprop.nn.init import Draw
from distprop.nn.lengths import Lengths
from distprop.nn.rows import RowGradients, TableUse
from distprop.nn.workspace import Workspace

OURS = __name__.partition(".")[0]
LAYERS_PURPOSE = 2  # the purpose of these random words, see philox.bits


@dataclass(frozen=True, slots=True)
class Place:
    """Which leaf of a job is computed, and which of its micro-batches: what its layers' randomness is keyed by."""

    seed: int = 0
    step: int = 0
    shard: int = 0
    micro_batch: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one leaf among those of others, and which leaf it is."""

    rows: slice
    place: Place

    @property
    def size(self) -> int:
        """How many rows."""
        return int(self.rows.stop - self.rows.start)


@dataclass
class Context:
    """What a layer may know while it computes. One layer, one pass."""

    workspace: Workspace
    layer: int
    dtype: np.dtype[Any]
    training: bool = True
    """Whether a backward pass follows and dropout drops."""
    wants_input_gradient: bool = True
    """False where nobody reads dx: backward may return None."""
    may_overwrite_input: bool = False
    """Whether x is nobody's any more, so that y may take its place."""
    place: Place = field(default=Place())
    piece: int = 0
    """Which piece of the rows this is, where a leaf is worked through in pieces."""
    output_passes: bool = False
    """Whether nobody reads y any more once the next layer has run forward."""
    stack: Any = None
    """A Stack where several leaves are computed together; None: all rows are of one leaf."""
    written: Callable[[int], None] | None = None
    """Hears, on the way back, of the stage whose gradients were written last; only the network's own stages tell."""
    lengths: Lengths = field(default_factory=Lengths)
    """How many of each row's time steps are real; one holder for all layers of a pass."""
    watch: Any = None
    """What sees the outputs of layers: an activity.Watch; None: nobody."""
    rows: Mapping[int, RowGradients] | None = None
    """Where layers with tables append the gradients of rows, by the layer's number; None: g has whole tables."""

    def but(self, **changes: Any) -> "Context":
        """A copy in which `changes` hold: as `dataclasses.replace`, at a sixth of its price."""
        new = object.__new__(Context)
        new.__dict__ = self.__dict__ | changes
        return new

    @property
    def parts(self) -> tuple[Part, ...]:
        """The leaves that the rows belong to."""
        return self.stack.parts if self.stack else (Part(slice(None), self.place),)

    def buffer(self, name: str, shape: Shape, dtype: Any = None) -> Array:
        """Uninitialized memory, of the pass's dtype: this layer's own until its next pass over this piece."""
        return self.workspace.buffer((self.layer, name, self.piece), shape, np.dtype(dtype or self.dtype))

    def passing(self, name: str, shape: Shape) -> Array:
        """Uninitialized memory: this layer's own until it works on another piece."""
        return self.workspace.buffer((self.layer, name), shape, self.dtype)

    def shared(self, name: str, shape: Shape, dtype: Any = None) -> Array:
        """Uninitialized memory that the next layer will use, too."""
        return self.workspace.buffer(("shared", name), shape, np.dtype(dtype or self.dtype))

    def output(self, shape: Shape) -> Array:
        """Memory for y: that of the last piece's y again, where it is not kept."""
        return self.passing("y", shape) if self.output_passes else self.buffer("y", shape)

    def scratch(self, size: int = BLOCK) -> Array:
        """Uninitialized memory (size,) that the next layer will use, too."""
        return self.workspace.buffer(("scratch",), (size,), self.dtype)

    def random_bits(self, count: int, piece: int = 0) -> NDArray[np.uint64]:
        """`count` random words (count,): a pure function of place, layer and pieces."""
        place = self.place
        at = (place.step, place.shard + (place.micro_batch << 32), self.layer + (piece << 32) + (self.piece << 44))
        return philox.bits(place.seed, LAYERS_PURPOSE, at, count)


Backward = Callable[[Array, Params], Array | None]
"""(dy, g) -> dx. dy (N, *output) may be overwritten; gradients of this batch are written, not added, into g."""
Shapes = Callable[[Shape], tuple[Shape, dict[str, Shape]]]
Forward = Callable[[Params, Array, Context], tuple[Array, Backward]]
Output = Literal["free", "kept", "input"]


def _no_parameters(p: Params, draws: Mapping[str, Draw]) -> None:
    """Nothing to fill."""


def no_tables(input_shape: Shape) -> Mapping[str, TableUse]:  # noqa: ARG001
    """Gradients have all of each parameter."""
    return {}


def _nothing(input_shape: Shape) -> int:  # noqa: ARG001
    return 0


def _size(input_shape: Shape) -> int:
    return math.prod(input_shape)


class Again(NamedTuple):
    """What it costs a row that values are computed again instead of being kept.

    flops: operations that are done once more. aside: values that lie in memory which others use before and after.
    """

    flops: int = 0
    aside: int = 0


def _never(input_shape: Shape) -> Again:  # noqa: ARG001
    return Again()


class Layer(NamedTuple):
    """One differentiable step. A layer owns no arrays: p, g and buffers are views lent by the caller.

    kind, settings: its name in LAYERS and the settings that make it again.
    shapes: shape of one row in -> (shape of one row out, shapes of the parameters). Raises ShapeError.
    forward: (p, x, context) -> (y, backward). backward may be called once, before the next forward.
    init: fills p in place.
    output: what y is. "free": memory that this layer does not read again; "kept": its backward reads y;
        "input": y may be x itself or a view of it.
    flops: shape of one row in -> floating-point operations of forward for one row.
    rectifies: cuts off about half of its inputs; weights before it are made larger for that.
    forgets: backward does not read x, and y is not x's memory.
    stacks: it takes the rows of several leaves at once, as `stack` says, and gives each the bits of being alone.
    in_pieces: rows are so large that few of them at a time stay in a core's cache.
    inside: how many layers it is made of.
    undivided: works on all rows of a leaf at once: on pieces of them it is slow, or wrong.
    ids: x are whole numbers from 0 to ids - 1, that have no gradient: dx is 0. 0: x are values.
    keeps: shape of one row in -> values kept for backward beside y, for one row.
    again: shape of one row in -> what it costs that values are computed again instead of being kept.
    statistics: which parameters are running means of what leaves have, and the share by which they move at each step.
        Their gradient is the leaf's values, times its rows.
    tables: shape of one row in -> which parameters are tables whose gradients have touched rows only, and their use.
    blocks: of a container, the containers.Block that it is made of.
    """

    kind: str
    settings: Mapping[str, Any]
    shapes: Shapes
    forward: Forward
    init: Callable[[Params, Mapping[str, Draw]], None] = _no_parameters
    output: Output = "free"
    flops: Callable[[Shape], int] = _size
    rectifies: bool = False
    forgets: bool = False
    stacks: bool = False
    in_pieces: bool = False
    inside: int = 0
    undivided: bool = False
    ids: int = 0
    keeps: Callable[[Shape], int] = _nothing
    again: Callable[[Shape], Again] = _never
    statistics: Mapping[str, float] = MappingProxyType({})
    tables: Callable[[Shape], Mapping[str, TableUse]] = no_tables
    blocks: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """What views, errors and summaries call it: of a function's name the last part."""
        return self.kind.rpartition(":")[2]

    def as_config(self) -> dict[str, Any]:
        """What makes this layer again, as a config writes it. Raises ConfigError where no function does."""
        return spec_of(self)


def same_shape(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
    """The shapes of a layer that keeps its input's shape and has no parameters."""
    return shape, {}


def spec_of(layer: Layer) -> dict[str, Any]:
    """The spec that makes this layer again; plain values, as JSON and YAML have them.

    Raises ConfigError for a layer of the user's own that no function of a module makes.
    """
    return {_maker_name(layer): dict(layer.settings)}


def _maker_name(layer: Layer) -> str:
    """The layer's kind; of one that the user's function was called for, that function: "my_layers:swish"."""
    home = str(layer.forward.__module__)
    if ":" in layer.kind or home.partition(".")[0] == OURS:
        return layer.kind
    maker = layer.forward.__qualname__.partition(".")[0]
    made = maker != layer.forward.__qualname__ or maker == layer.kind
    if home == "__main__" or not made:
        raise ConfigError(
            f"layer {layer.kind} cannot be made again in other processes",
            f"its forward, {layer.forward.__qualname__}, is defined in {home}, not within a function of a module",
            "let a function of a module beside the script return it: my_layers:swish (docs/layers.md has one)",
        )
    return f"{home}:{maker}"
