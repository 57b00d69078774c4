"""Units that do nothing any more: dead ones behind a relu, saturated ones behind a tanh or sigmoid.

Both are seen in the forward passes of evaluations, and travel as sums in their tails.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array
from distprop.nn.stage import Stage

Sums = NDArray[np.float64]

LIMITS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
NEAR = 0.005
"""How near to a limit, in parts of the range, an output is saturated: |tanh| > 0.99."""
MOST_UNITS = 65_536
"""Of a relu; those of a wider one would make tails too long."""


@dataclass(frozen=True)
class Activation:
    """An activation layer that is watched. units: its features, or channels.

    Its sums: of a relu, for each unit the passes in which any row had it above 0; of another one, how many outputs
    were saturated, and how many there were.
    """

    name: str
    number: int
    kind: str
    units: int

    @property
    def width(self) -> int:
        """How many sums it has."""
        return self.units if self.kind == "relu" else 2

    def add(self, y: Array, sums: Sums) -> None:
        """Add what outputs y (N, ..., units) show."""
        if self.kind == "relu":
            # Rows first, whole: that is several times as fast as unit by unit.
            highest = np.max(np.max(y, axis=0, initial=0.0).reshape(-1, self.units), axis=0)
            sums += ~(highest <= 0)  # what is not a number is not dead
            return
        low, high = LIMITS[self.kind]
        near = NEAR * (high - low)
        sums[0] += np.count_nonzero(y > high - near) + np.count_nonzero(y < low + near)
        sums[1] += y.size

    def read(self, sums: Sums) -> tuple[str, float]:
        """Its figure and the share that is dead or saturated."""
        if self.kind == "relu":
            return f"dead/{self.name}", float(np.count_nonzero(sums == 0) / self.units)
        return f"saturated/{self.name}", float(sums[0] / sums[1]) if sums[1] else 0.0


@dataclass(frozen=True)
class Activity:
    """Where the sums of all watched activations are, one behind the other."""

    activations: tuple[Activation, ...]

    @cached_property
    def width(self) -> int:
        """Values."""
        return sum(one.width for one in self.activations)

    @cached_property
    def _spans(self) -> dict[int, tuple[Activation, slice]]:
        stops = np.cumsum([0, *(one.width for one in self.activations)]).tolist()
        return {one.number: (one, slice(stops[i], stops[i + 1])) for i, one in enumerate(self.activations)}

    def see(self, number: int, y: Array, sums: Sums) -> None:
        """Add what the layer of this number gives to sums (width,), if it is watched."""
        if found := self._spans.get(number):
            activation, span = found
            activation.add(y, sums[span])

    def read(self, sums: Sums) -> dict[str, float]:
        """Shares by figure: "dead/1.relu"."""
        return dict(one.read(sums[span]) for one, span in self._spans.values())


@dataclass(frozen=True)
class Watch:
    """Sees the outputs of layers in a pass."""

    activity: Activity
    sums: Sums

    def see(self, number: int, y: Array) -> None:
        """A layer has given y."""
        self.activity.see(number, y, self.sums)


def watched(stages: Sequence[Stage]) -> Activity:
    """The activations among these layers, and inside of them."""
    return Activity(tuple(_watched(stages, "", 0)))


def _watched(stages: Sequence[Stage], prefix: str, start: int) -> Iterator[Activation]:
    for stage in stages:
        kind, number, units = stage.layer.kind, start + stage.number, stage.output_shape[-1:]
        if units and (kind in LIMITS or (kind == "relu" and units[0] <= MOST_UNITS)):
            yield Activation(f"{prefix}{stage.name}", number, kind, units[0])
        for block in stage.layer.blocks:
            inner = block.chains(stage.input_shape).stages
            yield from _watched(inner, f"{prefix}{stage.name}.{block.prefix}", number + 1 + block.number)
