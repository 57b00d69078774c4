"""A layer at its place in a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from distprop.errors import ShapeError
from distprop.nn.arrays import Shape
from distprop.nn.layer import Layer


@dataclass(frozen=True)
class Stage:
    """A layer, what goes in and out of it, and whether the activation behind it rectifies."""

    index: int
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    parameters: tuple[str, ...]
    parameter_shapes: tuple[Shape, ...]
    rectified: bool

    @property
    def name(self) -> str:
        """What errors and summaries call it: "0.dense"."""
        return f"{self.index}.{self.layer.kind}"


def place(index: int, layer: Layer, shape: Shape, after: Sequence[Layer]) -> Stage:
    """The stage of a layer that gets rows of `shape` and has the layers `after` behind it. Raises ShapeError."""
    try:
        output_shape, parameters = layer.shapes(shape)
    except ShapeError as error:
        raise ShapeError(f"layer {index}.{layer.kind}: {error.what}", error.why, error.fix) from None
    rectified = next((later.rectifies for later in after if later.kind not in ("dropout", "flatten")), False)
    return Stage(index, layer, shape, output_shape, tuple(parameters), tuple(parameters.values()), rectified)
