"""The layers that are measured alone, the rows they compute on, and their weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases import SEED, Floats
from distprop.nn.network import Network, build_network

NOISE = 0.05
"""Added to all weights, so that those that start at 0 or 1 count in the comparison, too."""


@dataclass(frozen=True)
class Single:
    """A layer as a config says it, and the rows of a pass. target: our time over PyTorch's; None: none is set."""

    name: str
    layer: Any
    input_shape: tuple[int, ...]
    rows: int
    target: float | None = None

    @property
    def kind(self) -> str:
        """The layer's name."""
        return self.layer if isinstance(self.layer, str) else next(iter(self.layer))

    @property
    def images(self) -> bool:
        """Whether rows are images: PyTorch has their channels first."""
        return len(self.input_shape) == 3

    def network(self) -> Network:
        """The layer as a network."""
        return build_network((self.layer,), self.input_shape)

    def weights(self) -> Floats:
        """All of them (P,); always the same."""
        network = self.network()
        flat = np.empty(network.arena.size, np.float32)
        network.init(SEED, flat)
        return np.add(flat, _normal(2, flat.shape, NOISE), out=flat)

    def x(self) -> Floats:
        """The rows (N, *input_shape); always the same."""
        return _normal(0, (self.rows, *self.input_shape))

    def dy(self) -> Floats:
        """The gradient of the outputs (N, *output_shape); always the same."""
        return _normal(1, (self.rows, *self.network().output_shape))


def _normal(stream: int, shape: tuple[int, ...], scale: float = 1.0) -> Floats:
    random = np.random.Generator(np.random.Philox([SEED, stream]))
    return random.standard_normal(shape, np.float32) * np.float32(scale)


SEQUENCES = (128, 128)
"""Steps and width of a row."""

SINGLES: tuple[Single, ...] = (
    Single("conv 3x3, 32 to 64 channels, 14x14, 128 images", {"conv2d": 64}, (14, 14, 32), 128, 2.0),
    Single("LSTM, 128 steps, 64 rows, 128 units", {"lstm": {"units": 128, "output": "sequence"}}, SEQUENCES, 64, 1.5),
    Single("attention, 128 tokens, 64 rows, 4 heads, 128 wide", {"attention": 4}, SEQUENCES, 64, 1.5),
    Single("GRU, 128 steps, 64 rows, 128 units", {"gru": {"units": 128, "output": "sequence"}}, SEQUENCES, 64),
    Single("batch norm, 64 channels, 14x14, 128 images", "batch_norm", (14, 14, 64), 128),
    Single("layer norm, 128 tokens, 64 rows, 128 wide", "layer_norm", SEQUENCES, 64),
    Single("max pool 2x2, 32 channels, 28x28, 128 images", "max_pool2d", (28, 28, 32), 128),
)
