"""What a network costs, layer by layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from distprop.nn.arrays import Shape
from distprop.nn.stage import Stage

BYTES = 4  # a float32


@dataclass(frozen=True)
class LayerSummary:
    """One layer. flops_per_row: forward and backward; activation_bytes_per_row: kept between the two, at most.

    aside_bytes_per_row: needed while it is computed again, in memory that all such layers take turns to use.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    flops_per_row: int
    activation_bytes_per_row: int
    aside_bytes_per_row: int = 0


def summarize(stages: Sequence[Stage], first_trained: int) -> tuple[LayerSummary, ...]:
    """One line for each stage; gradients go no further down than the index `first_trained`."""
    return tuple(_line(stage, first_trained) for stage in stages)


def _line(stage: Stage, first_trained: int) -> LayerSummary:
    forward = stage.layer.flops(stage.input_shape)
    # Going back, a layer does its forward's work once for its input and once for its parameters.
    times = 1 + (stage.index > first_trained) + bool(stage.parameters)
    again = stage.layer.again(stage.input_shape)
    views = stage.layer.kind in ("flatten", "reshape")
    return LayerSummary(
        name=stage.name,
        kind=stage.layer.kind,
        output_shape=stage.output_shape,
        parameters=sum(math.prod(shape) for shape in stage.parameter_shapes),
        flops_per_row=forward * times + again.flops,
        activation_bytes_per_row=0 if views else BYTES * _kept(stage),
        aside_bytes_per_row=BYTES * again.aside,
    )


def _kept(stage: Stage) -> int:
    return math.prod(stage.output_shape) + stage.layer.keeps(stage.input_shape)
