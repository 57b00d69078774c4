"""What several tests of networks share."""

import tracemalloc
from typing import Any, NamedTuple

import numpy as np

from distprop.nn.layer import Layer
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import LOSSES
from distprop.nn.metrics import build_metrics
from distprop.nn.network import Network, build_network
from distprop.nn.rows import RowGradients


class LayerCase(NamedTuple):
    """A layer as a config writes it, and the shapes of rows that it is tried on."""

    kind: str
    spec: Any
    input_shapes: tuple[tuple[int, ...], ...]
    last: tuple[int, ...] = tuple(range(1, 7))
    """Numbers of features or channels that fit."""
    least: int = 1
    """The smallest height, width or number of times that fits."""


ANY = ((7,), (3, 4), (2, 3, 2))

BRANCHES = [["tanh", {"dense": 3}], [{"dense": 3}, "sigmoid"], ["silu", {"dense": 3}, "elu"]]

LAYER_CASES = (
    LayerCase("dense", {"dense": 5}, ((7,), (1,))),
    LayerCase("dense", {"dense": {"width": 1, "bias": False, "init": "lecun_normal"}}, ((4,),)),
    LayerCase("relu", "relu", ANY),
    LayerCase("leaky_relu", {"leaky_relu": 0.2}, ANY),
    LayerCase("elu", {"elu": {"alpha": 0.7}}, ANY),
    LayerCase("gelu", "gelu", ANY),
    LayerCase("silu", "silu", ANY),
    LayerCase("tanh", "tanh", ANY),
    LayerCase("sigmoid", "sigmoid", ANY),
    LayerCase("softplus", "softplus", ANY),
    LayerCase("softmax", "softmax", ((6,), (1,))),
    LayerCase("dropout", {"dropout": 0.4}, ANY),
    LayerCase("flatten", "flatten", ANY),
    LayerCase("reshape", {"reshape": [-1]}, ((7,), (2, 3, 2))),
    LayerCase("reshape", {"reshape": [1, -1, 1]}, ((7,), (3, 4))),
    LayerCase("conv2d", {"conv2d": 3}, ((5, 4, 2), (3, 3, 7), (1, 1, 1))),
    LayerCase(
        "conv2d", {"conv2d": {"channels": 4, "kernel": [2, 3], "stride": 2, "padding": 1}}, ((5, 7, 6), (4, 4, 1))
    ),
    LayerCase("conv2d", {"conv2d": {"channels": 2, "kernel": 1, "bias": False}}, ((3, 2, 5),)),
    LayerCase(
        "conv2d", {"conv2d": {"channels": 2, "dilation": [2, 1], "padding": "valid"}}, ((6, 4, 5), (5, 3, 2)), least=5
    ),
    LayerCase("conv2d", {"conv2d": {"channels": 12, "groups": "depthwise"}}, ((3, 4, 6), (4, 2, 1)), (1, 2, 3, 4)),
    LayerCase("conv1d", {"conv1d": {"channels": 3, "kernel": 4, "stride": 2}}, ((9, 2), (3, 6))),
    LayerCase(
        "conv1d", {"conv1d": {"channels": 4, "groups": 2, "dilation": 2, "padding": 2}}, ((9, 4), (3, 6)), (2, 4)
    ),
    LayerCase("max_pool2d", "max_pool2d", ((4, 6, 2), (5, 3, 1)), least=2),
    LayerCase("max_pool2d", {"max_pool2d": {"size": 3, "stride": [2, 1], "padding": "same"}}, ((4, 6, 2), (1, 1, 1))),
    LayerCase("max_pool1d", {"max_pool1d": 3}, ((9, 2), (4, 1)), least=3),
    LayerCase("average_pool2d", {"average_pool2d": [1, 2]}, ((4, 6, 2), (5, 3, 1)), least=2),
    LayerCase("average_pool2d", {"average_pool2d": {"size": 3, "stride": 2, "padding": 1}}, ((4, 6, 2), (1, 1, 1))),
    LayerCase("average_pool1d", {"average_pool1d": {"size": 3, "stride": 1, "padding": "same"}}, ((9, 2), (1, 1))),
    LayerCase("global_average_pool", "global_average_pool", ((4, 3), (2, 3, 2))),
    LayerCase("global_max_pool", "global_max_pool", ((4, 3), (2, 3, 2))),
    LayerCase("layer_norm", {"layer_norm": 0.1}, ((7,), (2, 3, 2))),
    LayerCase("rms_norm", {"rms_norm": {"eps": 0.1}}, ((7,), (2, 3, 2))),
    LayerCase("group_norm", {"group_norm": {"groups": 2, "eps": 0.1}}, ((6,), (2, 3, 4)), (2, 4, 6)),
    LayerCase("batch_norm", {"batch_norm": {"momentum": 0.2, "eps": 0.1}}, ((6,), (1,), (3, 4), (2, 3, 2))),
    LayerCase("embedding", {"embedding": {"rows": 7, "width": 3}}, ((5,), (1,), (2, 3))),
    LayerCase("embedding", {"embedding": {"rows": 3, "width": 1, "padding": 2}}, ((6,),)),
    LayerCase("position", {"position": "learned"}, ((4, 3), (1, 1))),
    LayerCase("position", {"position": "sinusoidal"}, ((4, 3), (1, 1))),
    LayerCase("mask", "mask", ((4, 3), (1, 1))),
    LayerCase("lstm", {"lstm": 3}, ((4, 5), (1, 1))),
    LayerCase("lstm", {"lstm": {"units": 2, "bidirectional": True, "output": "sequence"}}, ((4, 5), (1, 1))),
    LayerCase("gru", {"gru": 3}, ((4, 5), (1, 1))),
    LayerCase("gru", {"gru": {"units": 2, "bidirectional": True, "output": "sequence"}}, ((4, 5), (1, 1))),
    LayerCase("attention", {"attention": 2}, ((4, 6), (1, 2)), (2, 4, 6)),
    LayerCase("attention", {"attention": {"heads": 1, "causal": True}}, ((5, 3),)),
    LayerCase("sequence", {"sequence": [{"dense": 4}, "tanh", {"dense": 3}, "relu"]}, ((5,), (1,))),
    LayerCase("repeat", {"repeat": {"times": 3, "layers": [{"dense": 4}, "silu"]}}, ((5,), (1,))),
    LayerCase(
        "residual", {"residual": [{"conv1d": 2}, "gelu", {"dropout": 0.2}, {"conv1d": 2}]}, ((5, 2), (1, 2)), (2,)
    ),
    LayerCase("residual", {"residual": ["tanh", {"residual": ["sigmoid", "softplus"]}]}, ((4,), (3, 4))),
    LayerCase("parallel", {"parallel": {"branches": BRANCHES}}, ((5,), (1,))),
    LayerCase("parallel", {"parallel": {"branches": BRANCHES, "join": "multiply"}}, ((5,), (1,))),
    LayerCase("parallel", {"parallel": {"branches": [["flatten"], *BRANCHES], "join": "concat"}}, ((5,), (1,))),
    LayerCase("sequence", {"sequence": {"layers": [{"dense": 4}, "tanh", "relu"], "recompute": True}}, ((5,), (1,))),
    LayerCase(
        "repeat", {"repeat": {"times": 3, "layers": ["silu", {"dense": 4}], "recompute": True}}, ((5,), (1,)), least=4
    ),
    LayerCase(
        "residual", {"residual": {"layers": [{"conv1d": 2}, {"dropout": 0.2}], "recompute": True}}, ((5, 2),), (2,)
    ),
    LayerCase("parallel", {"parallel": {"branches": BRANCHES, "join": "multiply", "recompute": True}}, ((5,), (1,))),
)

DEEP: list[Any] = [
    {"dense": 24},
    "relu",
    {"dropout": 0.3},
    {"dense": 16},
    "gelu",
    {"dropout": 0.1},
    {"dense": 12},
    "tanh",
    "elu",
    {"dense": 4},
]
"""Many kinds of layers, some of which may work in place and some not."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows_for(layer: Layer, shape: tuple[int, ...], seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    """What a layer takes (N, *row): ids or values."""
    values = rng(seed).integers(layer.ids, size=shape) if layer.ids else rng(seed).normal(size=shape)
    return values.astype(dtype)


def weights_of(network: Network, dtype: Any = np.float32, seed: int = 5) -> np.ndarray:
    """Initial weights, with biases that are not 0; read-only, as workers get them."""
    flat = np.empty(network.arena.size, dtype)
    network.init(seed, flat)
    flat += 0.1 * rng(seed).normal(size=flat.shape).astype(dtype)
    flat.flags.writeable = False
    return flat


def classifier(layers: list[Any] = DEEP, features: int = 9, seed: int = 3) -> LeafComputer:
    network = build_network(layers, (features,))
    return LeafComputer(network, LOSSES["softmax_cross_entropy"], build_metrics(None, "classification"), seed)


def batch(rows: int, features: int = 9, classes: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    x = rng(seed).normal(size=(rows, features)).astype(np.float32)
    return x, rng(seed + 1).integers(0, classes, rows)


def row_room(capacity: int, width: int) -> RowGradients:
    """Room of its own for `capacity` float32 rows."""
    return RowGradients(np.zeros(1, np.int64), np.empty(capacity, np.int64), np.empty((capacity, width), np.float32))


def allocated(computer: LeafComputer, x: np.ndarray, y: np.ndarray) -> int:
    """Bytes at most beside what there was before, in the third leaf."""
    flat = weights_of(computer.network)
    out = np.empty(flat.size, np.float32)
    tracemalloc.start()
    try:
        for step in range(3):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            computer.gradient(flat, x, y, None, step, 0, out)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before
