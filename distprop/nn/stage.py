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
    number: int
    """As `index`, with the layers inside of others counted, too."""

    @property
    def keeps_time(self) -> bool:
        """Whether the rows that come out have the time steps of those that go in, if these have any."""
        return len(self.output_shape) > 1 and self.output_shape[0] == self.input_shape[0]

    @property
    def name(self) -> str:
        """What errors and summaries call it: "0.dense"."""
        return f"{self.index}.{self.layer.name}"


def place_all(layers: Sequence[Layer], shape: Shape) -> tuple[Stage, ...]:
    """The stages of these layers over rows of `shape`. Raises ShapeError."""
    stages: list[Stage] = []
    number = 0
    for index, layer in enumerate(layers):
        stages.append(_place(index, number, layer, shape, layers[index + 1 :]))
        shape = stages[-1].output_shape
        number += 1 + layer.inside
    return tuple(stages)


def _place(index: int, number: int, layer: Layer, shape: Shape, after: Sequence[Layer]) -> Stage:
    try:
        output_shape, parameters = layer.shapes(shape)
    except ShapeError as error:
        raise ShapeError(f"layer {index}.{layer.name}: {error.what}", error.why, error.fix) from None
    names, shapes = tuple(parameters), tuple(parameters.values())
    return Stage(index, layer, shape, output_shape, names, shapes, is_rectified(after), number)


NORMS = ("layer_norm", "rms_norm", "group_norm", "batch_norm")
TRANSPARENT = ("dropout", "flatten", "reshape", "max_pool2d", "max_pool1d", *NORMS)
"""Layers through which one sees the activation behind."""


def is_rectified(after: Sequence[Layer]) -> bool:
    """Whether the activation that follows cuts off about half of its inputs."""
    return next((layer.rectifies for layer in after if layer.kind not in TRANSPARENT), False)
