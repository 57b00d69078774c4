"""The networks that steps are measured with, and the rows they compute on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.layers import LAYERS

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

LEARNING_RATE = 1e-4
"""Of Adam, everywhere: small, so that weights and losses stay ordinary over many steps on the same rows."""

SEED = 7


class Product(NamedTuple):
    """A matrix product (m, k) x (k, n). kind: "forward", "weights" (x^T dy) or "input" (dy W^T)."""

    kind: str
    m: int
    k: int
    n: int

    @property
    def flops(self) -> int:
        """Floating-point operations."""
        return 2 * self.m * self.k * self.n


@dataclass(frozen=True)
class Case:
    """A network and the rows that each worker computes in a step.

    steps: in a block of measuring; group: successive steps that make one sample, so that a sample is never so short
    that the measuring process's own scheduling decides it. widths: of a case made of dense layers, input included.
    """

    name: str
    rows: int
    steps: int
    group: int
    widths: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """As in the table."""
        return f"{self.name} {'-'.join(map(str, self.widths)) if self.widths else 'conv 16-pool-32-pool-10'}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.widths[:1] if self.widths else (28, 28, 1)

    @property
    def classes(self) -> int:
        """How many."""
        return self.widths[-1] if self.widths else 10

    @property
    def layers(self) -> tuple[Any, ...]:
        """The model, as a config says it."""
        if not self.widths:
            return _CONVOLUTIONS
        hidden = [layer for width in self.widths[1:-1] for layer in ({"dense": width}, "relu")]
        return (*hidden, {"dense": self.widths[-1]})

    @property
    def products(self) -> tuple[Product, ...]:
        """The matrix products of a worker's step, forward and backward; none for the input of the first layer."""
        found: list[Product] = []
        for index, (k, n) in enumerate(pairwise(self.widths)):
            found += [Product("forward", self.rows, k, n), Product("weights", k, self.rows, n)]
            found += [Product("input", self.rows, n, k)] if index else []
        return tuple(found) or _convolved(self.rows)

    @property
    def missing(self) -> str | None:
        """Why this case cannot be run; None where it can."""
        kinds = [layer if isinstance(layer, str) else next(iter(layer)) for layer in self.layers]
        unknown = sorted({kind for kind in kinds if kind not in LAYERS})
        return f"distprop has no layer {', '.join(unknown)} yet" if unknown else None


_CONVOLUTIONS: tuple[Any, ...] = (
    {"conv2d": 16},
    "relu",
    "max_pool2d",
    {"conv2d": 32},
    "relu",
    "max_pool2d",
    "flatten",
    {"dense": 10},
)


def _convolved(rows: int) -> tuple[Product, ...]:
    """Case E's products, a convolution being one over all pixels and 3 x 3 neighbours."""
    first, second = rows * 28 * 28, rows * 14 * 14
    return (
        *(Product("forward", first, 9, 16), Product("weights", 9, first, 16)),
        *(Product("forward", second, 144, 32), Product("weights", 144, second, 32), Product("input", second, 32, 144)),
        *(Product("forward", rows, 1568, 10), Product("weights", 1568, rows, 10), Product("input", rows, 10, 1568)),
    )


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("A", 128, 400, 10, (784, 128, 10)),
        Case("B", 256, 120, 4, (784, 512, 256, 10)),
        Case("C", 256, 50, 2, (784, 1024, 1024, 10)),
        Case("D", 256, 16, 1, (2048, 2048, 2048, 1000)),
        Case("E", 128, 60, 2),
    )
}

TARGETS = {"A": 4.0, "B": 2.3, "C": 2.1, "D": 2.0, "E": 1.5}
"""Ratios to reach: DDP's median step over ours."""


def global_batch(input_shape: Sequence[int], classes: int, rows: int) -> tuple[Floats, Labels]:
    """The rows of a step over all workers: x (rows, *input_shape) normal, labels (rows,) random; always the same."""
    random = np.random.Generator(np.random.Philox(SEED))
    x = random.standard_normal((rows, *input_shape), np.float32)
    return x, random.integers(0, classes, rows)
