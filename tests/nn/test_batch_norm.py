"""Batch normalization: its formulas, PyTorch's, and the laws of leaves and of evaluations."""

import tracemalloc
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from distprop.errors import ConfigError
from distprop.nn.chain import PIECE
from distprop.nn.gradient_check import check_network
from distprop.nn.layer import Context, Place
from distprop.nn.layers import build_layer
from distprop.nn.leaf import LeafComputer, square_length
from distprop.nn.losses import LOSSES
from distprop.nn.metrics import build_metrics
from distprop.nn.network import Pass, build_network
from distprop.nn.workspace import Workspace
from tests.nn.cases import rng, weights_of

SHAPES = [(5,), (4, 3), (3, 5, 2)]
EPS, MOMENTUM = 1e-5, 0.3
NET = [
    "batch_norm",
    {"conv2d": 4},
    "batch_norm",
    "relu",
    "max_pool2d",
    {"residual": [{"conv2d": 4}, "batch_norm", "gelu", {"conv2d": 4}]},
    {"parallel": {"branches": [[{"conv2d": 2}, "batch_norm"], [{"conv2d": 3}, {"dropout": 0.2}]], "join": "concat"}},
    {"repeat": {"times": 2, "layers": [{"conv2d": 5}, "batch_norm", "silu"]}},
    "global_average_pool",
    "batch_norm",
    {"dense": 3},
]
IMAGE = (4, 5, 2)


def context(dtype=np.float64, **more) -> Context:
    return Context(Workspace(), 0, np.dtype(dtype), place=Place(1, 2, 3), **more)


def drawn(channels: int, dtype=np.float64) -> dict[str, np.ndarray]:
    """Parameters and running statistics that are not those at the start."""
    p = {name: rng(at).normal(size=channels) for at, name in enumerate(("scale", "shift", "mean"))}
    return {name: view.astype(dtype) for name, view in {**p, "variance": rng(3).uniform(0.5, 2, channels)}.items()}


def passed(p, x, dy, **more):
    y, backward = build_layer("batch_norm").forward(p, x, context(x.dtype, **more))
    y, g = y.copy(), {name: np.full_like(view, np.nan) for name, view in p.items()}
    return y, backward(dy.copy(), g), g


@pytest.mark.parametrize("shape", SHAPES)
def test_values_statistics_and_gradients_are_those_of_pytorch(shape):
    """Several steps, whose running statistics follow as a server makes them follow; then an evaluation."""
    if find_spec("torch") is None:
        pytest.skip("PyTorch, to compare with, is in the extra `bench`")
    import torch

    p, rows = drawn(shape[-1]), 7
    module = (torch.nn.BatchNorm2d if len(shape) == 3 else torch.nn.BatchNorm1d)(shape[-1], EPS, MOMENTUM).double()
    names = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}
    module.load_state_dict({there: torch.tensor(p[here]) for there, here in names.items()}, strict=False)

    def there(array):
        """Channels first, as PyTorch has them."""
        return torch.tensor(np.ascontiguousarray(np.moveaxis(array, -1, 1)))

    def close(found, tensor):
        expected = np.moveaxis(tensor.detach().numpy(), 1, -1) if tensor.ndim > 1 else tensor.detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    for step in range(3):
        x, dy = (2 + 3 * rng(10 * step + k).normal(size=(rows, *shape)) for k in range(2))
        x_there = there(x).requires_grad_()
        module.zero_grad()
        y_there = module(x_there)
        y_there.backward(there(dy))
        y, dx, g = passed(p, x, dy)
        close(y, y_there)
        close(dx, x_there.grad)
        close(g["scale"], module.weight.grad)
        close(g["shift"], module.bias.grad)
        p |= {name: (1 - MOMENTUM) * p[name] + MOMENTUM * g[name] / rows for name in ("mean", "variance")}
        close(p["mean"], module.running_mean)
        close(p["variance"], module.running_var)
    y, _ = build_layer("batch_norm").forward(p, x, context(training=False))
    close(y, module.eval()(there(x)))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_channel_is_normalized_over_rows_and_places(shape):
    p, x = drawn(shape[-1]), 5 + 3 * rng().normal(size=(9, *shape))
    y, _, g = passed(p, x, x)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(y.mean(axis=axes), p["shift"], rtol=1e-9)
    np.testing.assert_allclose(y.std(axis=axes), np.abs(p["scale"]), rtol=1e-5)
    np.testing.assert_allclose(g["mean"] / 9, x.mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(g["variance"] / 9, x.var(axis=axes, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("rows", [3, 40, 4096])
def test_moments_are_exact_far_from_zero(rows):
    """In float32, with means of thousands of deviations; 4096 rows are several blocks."""
    p, x = drawn(24, np.float32), (1e4 * rng(1).normal(size=24) + rng().normal(size=(rows, 24))).astype(np.float32)
    _, _, g = passed(p, x, x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(g["mean"] / rows, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(g["variance"] / rows, exact.var(axis=0, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1, 4)])
def test_a_leaf_with_one_value_a_channel_takes_the_running_statistics_and_leaves_them(shape):
    p, x = drawn(4), rng(5).normal(size=(1, *shape))
    y, dx, g = passed(p, x, np.ones_like(x))
    root = np.sqrt(p["variance"] + EPS)
    np.testing.assert_allclose(y, (x - p["mean"]) / root * p["scale"] + p["shift"], rtol=1e-12)
    np.testing.assert_allclose(dx, np.broadcast_to(p["scale"] / root, dx.shape), rtol=1e-12)
    np.testing.assert_allclose([g["mean"], g["variance"]], [p["mean"], p["variance"]], rtol=1e-12)


def test_a_channel_without_variance_becomes_its_shift():
    p, x = drawn(2, np.float32), np.full((6, 3, 2), 7.25, np.float32)
    y, dx, g = passed(p, x, rng().normal(size=x.shape).astype(np.float32))
    np.testing.assert_array_equal(y, np.broadcast_to(p["shift"], y.shape))
    assert np.isfinite(dx).all()
    assert not g["variance"].any() and (g["mean"] == 6 * 7.25).all()


def computer(layers=NET, shape=IMAGE) -> LeafComputer:
    network = build_network(layers, shape)
    return LeafComputer(network, LOSSES["softmax_cross_entropy"], build_metrics(None, "classification"), 3)


def test_gradients_belong_to_the_loss_of_a_net_in_pieces():
    conv: list[Any] = [{"conv2d": {"channels": 3, "bias": False}}, "batch_norm"]
    network = build_network(
        [*conv, "relu", {"residual": conv}, "global_average_pool", "batch_norm", {"dense": 3}], IMAGE
    )
    x, y = rng(1).normal(size=(PIECE + 3, *IMAGE)), rng(2).integers(0, 3, PIECE + 3)
    assert check_network(network, LOSSES["softmax_cross_entropy"], x, y, rng(3)) < 1e-6


@pytest.mark.parametrize("layers", [["batch_norm", {"conv2d": 1}], [{"residual": [{"conv2d": 2}, "batch_norm"]}]])
def test_a_leaf_is_normalized_as_one_however_many_rows_it_has(layers):
    """Its rows twice have the moments of its rows once: a part of them has others."""
    network = build_network(layers, IMAGE)
    flat, x = weights_of(network, np.float64), rng(1).normal(size=(PIECE, *IMAGE))
    once, _ = network.forward(flat, x, Pass(Workspace(), training=True))
    twice, _ = network.forward(flat, np.repeat(x, 2, axis=0), Pass(Workspace(), training=True))
    np.testing.assert_allclose(twice[::2], once, rtol=1e-9, atol=1e-9)


def test_a_row_is_evaluated_the_same_alone_and_among_others():
    """As far as products allow: without them, to the last bit."""
    network = build_network(["batch_norm", "relu", "max_pool2d", {"residual": ["batch_norm", "tanh"]}], IMAGE)
    flat, x = np.abs(weights_of(network)), rng(1).normal(size=(50, *IMAGE)).astype(np.float32)
    together = network.predict(flat, x)
    alone = [network.predict(flat, x[row : row + 1])[0] for row in range(50)]
    assert together.tobytes() == np.array(alone).tobytes()


def test_statistics_are_told_apart_from_parameters_within_containers_too():
    follows = {slot.name: slot.follows for slot in build_network(NET, IMAGE).arena.slots if slot.follows}
    layers = [
        "0.batch_norm",
        "2.batch_norm",
        "5.residual.1.batch_norm",
        "6.parallel.0.1.batch_norm",
        "7.repeat.1.batch_norm",
        "7.repeat.4.batch_norm",
        "9.batch_norm",
    ]
    assert follows == {f"{layer}.{name}": 0.1 for layer in layers for name in ("mean", "variance")}


def test_the_length_of_a_leafs_gradient_knows_nothing_of_statistics():
    arena = build_network(["batch_norm", {"dense": 3}], (4,)).arena
    vector = np.zeros(arena.size, np.float32)
    for name, view in arena.views(vector).items():
        view[...] = 100.0 if name.endswith(("mean", "variance")) else 1.0
    assert square_length(vector, arena.learned_blocks) == 4 + 4 + 12 + 3


def gradient(one: LeafComputer, rows: int, step: int = 0) -> bytes:
    out = np.full(one.network.arena.size, np.nan, np.float32)
    x, y = rng(rows).normal(size=(rows, *IMAGE)).astype(np.float32), rng(rows).integers(0, 3, rows)
    return one.gradient(np.abs(weights_of(one.network)), x, y, None, step, 0, out).tobytes() + out.tobytes()


def test_what_was_computed_before_changes_no_bit():
    used, x = computer(), rng(1).normal(size=(60, *IMAGE)).astype(np.float32)
    for step, rows in enumerate((40, 3, 1, 50)):
        gradient(used, rows, step)
        used.evaluate(np.abs(weights_of(used.network)), x, rng(1).integers(0, 3, 60))
    for rows in (37, 16, 1):
        assert gradient(used, rows) == gradient(computer(), rows) == gradient(used, rows)


def test_a_steady_leaf_allocates_nothing_large():
    one = computer(["batch_norm", "relu", {"residual": ["batch_norm"]}, "flatten", {"dense": 3}], (14, 14, 32))
    flat, x, y = weights_of(one.network), rng().normal(size=(50, 14, 14, 32)).astype(np.float32), np.zeros(50, int)
    out = np.empty_like(flat)
    for step in range(2):
        one.gradient(flat, x, y, None, step, 0, out)
    tracemalloc.start()
    try:
        one.gradient(flat, x, y, None, 2, 0, out)
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        one.gradient(flat, x, y, None, 3, 0, out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - held < 64 * 1024


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"batch_norm": 1.0}, "`batch_norm.momentum` is 1.0"),
        ({"batch_norm": {"eps": 0}}, "`batch_norm.eps` is 0"),
        ({"batch_norm": {"momentun": 0.1}}, "did you mean `momentum`"),
    ],
)
def test_a_wrong_setting_is_told(spec, said):
    with pytest.raises(ConfigError, match=said):
        build_layer(spec)
