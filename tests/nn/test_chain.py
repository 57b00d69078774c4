"""Laws of networks that work through their rows piece by piece."""

import tracemalloc

import numpy as np
import pytest

from distprop.nn.chain import PIECE
from distprop.nn.gradient_check import check_network
from distprop.nn.layer import Context, Place
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import LOSSES
from distprop.nn.metrics import build_metrics
from distprop.nn.network import Network, Pass, build_network
from distprop.nn.workspace import Workspace
from tests.nn.cases import rng, weights_of

IMAGES = [
    {"conv2d": 4},
    "relu",
    "max_pool2d",
    {"conv2d": {"channels": 6, "stride": 2}},
    "gelu",
    "average_pool2d",
    {"conv2d": {"channels": 6, "kernel": 1}},
    "relu",
    "flatten",
    {"dense": 12},
    "relu",
    {"dense": 3},
]
DROPPING = [{"conv2d": 4}, {"dropout": 0.3}, "relu", "max_pool2d", {"dropout": 0.3}, "flatten", {"dense": 3}]
BLOCKS = [
    {"conv2d": 4},
    {"group_norm": 2},
    {"residual": [{"conv2d": 4}, "relu", {"dropout": 0.2}, "layer_norm", {"conv2d": 4}]},
    {"parallel": {"branches": [[{"conv2d": 2}, "max_pool2d"], ["average_pool2d", "rms_norm"]], "join": "concat"}},
    {"sequence": [{"conv2d": 5}, "relu", "max_pool2d"]},
    "global_average_pool",
    {"repeat": {"times": 2, "layers": [{"residual": [{"dense": 5}, "tanh"]}]}},
    {"dense": 3},
]
NORMALIZED = [
    {"conv2d": 4},
    "batch_norm",
    "relu",
    "max_pool2d",
    {"residual": [{"conv2d": 4}, "batch_norm", "relu", {"conv2d": 4}]},
    {"parallel": {"branches": [[{"conv2d": 2}, "batch_norm"], ["gelu", {"conv2d": 3}]], "join": "concat"}},
    "global_average_pool",
    "batch_norm",
    {"dense": 3},
]
SHAPE = (9, 8, 2)


def images(rows: int, shape=SHAPE, dtype=np.float32, seed: int = 0) -> np.ndarray:
    return rng(seed).normal(size=(rows, *shape)).astype(dtype)


def leaf(layers=IMAGES, shape=SHAPE) -> LeafComputer:
    network = build_network(layers, shape)
    return LeafComputer(network, LOSSES["softmax_cross_entropy"], build_metrics(None, "classification"), 3)


def gradient(computer: LeafComputer, rows: int, step: int = 0, seed: int = 0) -> tuple[bytes, bytes]:
    out = np.full(computer.network.arena.size, np.nan, np.float32)
    x, y = images(rows, computer.network.input_shape, seed=seed), rng(rows).integers(0, 3, rows)
    tail = computer.gradient(weights_of(computer.network), x, y, None, step, 0, out)
    return tail.tobytes(), out.tobytes()


def apart(network: Network, flat, x, dy):
    """Outputs and gradients, layer by layer in the model's order, each over all rows in memory of its own."""
    p, g = network.arena.views(flat), np.full_like(flat, np.nan)
    views, backwards = network.arena.views(g), []
    for stage in network.stages:
        names = {name: f"{stage.name}.{name}" for name in stage.parameters}
        context = Context(Workspace(), stage.number, flat.dtype, place=Place(9))
        x, backward = stage.layer.forward({k: p[name] for k, name in names.items()}, x.copy(), context)
        backwards.append((backward, {k: views[name] for k, name in names.items()}))
    y = x.copy()
    for backward, own in reversed(backwards):
        dy = backward(dy.copy(), own)
    return y, g, dy


def without_dropout(layers):
    return [
        {"residual": [one for one in layer["residual"] if one != {"dropout": 0.2}]} if "residual" in layer else layer
        for layer in layers
    ]


@pytest.mark.parametrize("rows", [1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize("layers", [IMAGES, without_dropout(BLOCKS), NORMALIZED])
def test_pieces_and_the_order_of_layers_change_no_value(layers, rows):
    network = build_network(layers, SHAPE)
    flat, x, dy = weights_of(network, np.float64), images(rows, dtype=np.float64), rng(1).normal(size=(rows, 3))
    expected = apart(network, flat, x, dy)
    y, backward = network.forward(flat, x, Pass(Workspace(), True, Place(9), input_gradient=True))
    g, outputs = np.full_like(flat, np.nan), y.copy()
    found = outputs, g, backward(dy.copy(), g)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_gradients_belong_to_the_loss():
    network, rows = build_network(IMAGES, SHAPE), PIECE + 3
    x, y = images(rows, dtype=np.float64), rng(1).integers(0, 3, rows)
    assert check_network(network, LOSSES["softmax_cross_entropy"], x, y, rng(2)) < 1e-6


@pytest.mark.parametrize("layers", [IMAGES, DROPPING, BLOCKS])
def test_what_was_computed_before_changes_no_bit(layers):
    used = leaf(layers)
    for step, rows in enumerate((40, 3, 50)):
        gradient(used, rows, step, seed=9)
        used.evaluate(weights_of(used.network), images(rows + 20), rng(1).integers(0, 3, rows + 20))
    for rows in (37, 16):
        fresh = gradient(leaf(layers), rows)
        assert gradient(used, rows) == fresh
        assert gradient(used, rows) == fresh


def test_predictions_are_those_of_training_to_the_last_bit():
    network = build_network(IMAGES, SHAPE)
    flat, x = weights_of(network), images(37)
    y, _ = network.forward(flat, x, Pass(Workspace(), training=True))
    assert network.predict(flat, x).tobytes() == y.tobytes()


def test_no_rows_give_no_predictions_and_no_gradient():
    network = build_network(IMAGES, SHAPE)
    flat, g = weights_of(network), np.full(network.arena.size, np.nan, np.float32)
    y, backward = network.forward(flat, images(0), Pass(Workspace(), training=True))
    backward(np.empty_like(y), g)
    assert y.shape == (0, 3)
    assert not g.any()


def test_dropout_draws_anew_in_each_piece():
    network = build_network([{"conv2d": 1}, {"dropout": 0.5}], (4, 4, 1))
    flat = np.ones(network.arena.size, np.float32)
    y, _ = network.forward(flat, np.ones((2 * PIECE, 4, 4, 1), np.float32), Pass(Workspace(), training=True))
    assert (y[:PIECE] == 0).tobytes() != (y[PIECE:] == 0).tobytes()


def test_the_callers_rows_are_not_written():
    network = build_network(["relu", *IMAGES], SHAPE)
    x = images(40)
    x.flags.writeable = False
    y, backward = network.forward(weights_of(network), x, Pass(Workspace(), training=True))
    backward(np.ones_like(y), np.empty(network.arena.size, np.float32))


def test_a_steady_leaf_allocates_nothing_large():
    shape = (28, 28, 1)
    computer = leaf([{"conv2d": 16}, "relu", "max_pool2d", {"conv2d": 8}, "max_pool2d", "flatten", {"dense": 3}], shape)
    flat, x, y = weights_of(computer.network), images(100, shape), rng(1).integers(0, 3, 100)
    out = np.empty_like(flat)
    computer.gradient(flat, x, y, None, 0, 0, out)
    tracemalloc.start()
    try:
        computer.gradient(flat, x, y, None, 1, 0, out)
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        computer.gradient(flat, x, y, None, 2, 0, out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - held < 96 * 1024
