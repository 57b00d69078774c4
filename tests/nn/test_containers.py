"""Containers against what is written out; normalization against its formulas."""

import numpy as np
import pytest

from distprop.errors import ConfigError, ShapeError
from distprop.nn.layer import Context, Place
from distprop.nn.layers import build_layer
from distprop.nn.network import Pass, build_network
from distprop.nn.workspace import Workspace
from tests.nn.cases import rng, weights_of


def predicted(layers, x, seed: int = 5):
    network = build_network(layers, x.shape[1:])
    flat = weights_of(network, np.float64, seed)
    return network.predict(flat, x), network.arena.views(flat)


def names(layers, shape) -> list[str]:
    return [slot.name for slot in build_network(layers, shape).arena.slots]


def test_parameters_within_containers_are_named_by_their_path():
    inner = [{"residual": [{"dense": {"width": 4, "bias": False}}]}, "relu"]
    assert names([{"repeat": {"times": 2, "layers": inner}}], (4,)) == [
        "0.repeat.0.residual.0.dense.W",
        "0.repeat.2.residual.0.dense.W",
    ]
    branches = [[{"dense": 2}], ["relu", {"dense": 2}]]
    assert names(["tanh", {"parallel": {"branches": branches}}], (4,)) == [
        "1.parallel.0.0.dense.W",
        "1.parallel.0.0.dense.b",
        "1.parallel.1.1.dense.W",
        "1.parallel.1.1.dense.b",
    ]


def test_more_than_ten_layers_within_a_container_are_told_apart():
    x = rng().normal(size=(3, 4))
    layers = [{"dense": {"width": 4, "bias": False}}] * 12
    y, p = predicted([{"sequence": layers}], x)
    for index in range(12):
        x = x @ p[f"0.sequence.{index}.dense.W"]
    np.testing.assert_allclose(y, x, rtol=1e-12)


def test_a_residual_adds_its_input():
    x = rng().normal(size=(3, 4))
    y, p = predicted([{"residual": [{"dense": 4}, "tanh"]}], x)
    np.testing.assert_allclose(y, x + np.tanh(x @ p["0.residual.0.dense.W"] + p["0.residual.0.dense.b"]), rtol=1e-12)


@pytest.mark.parametrize(
    ("join", "expected"),
    [("add", np.add), ("multiply", np.multiply), ("concat", lambda a, b: np.concatenate([a, b], axis=1))],
)
def test_branches_are_joined(join, expected):
    x = rng().normal(size=(3, 4))
    y, p = predicted([{"parallel": {"branches": [["tanh"], [{"dense": 4}]], "join": join}}], x)
    other = x @ p["0.parallel.1.0.dense.W"] + p["0.parallel.1.0.dense.b"]
    np.testing.assert_allclose(y, expected(np.tanh(x), other), rtol=1e-12)


def test_each_layer_within_draws_its_own_dropout():
    drop = {"dropout": 0.5}
    branches = [[drop, drop], [drop], [{"sequence": [drop]}]]
    network = build_network([{"parallel": {"branches": branches, "join": "concat"}}, drop], (500,))
    run = Pass(Workspace(), training=True, place=Place(1))
    y, _ = network.forward(np.empty(0, np.float32), np.ones((1, 500), np.float32), run)
    parts = (y[0] > 0).reshape(3, 500)
    assert 40 < parts[0].sum() < 90  # an eighth: three masks that do not know of each other
    assert len({part.tobytes() for part in parts}) == 3


def test_initial_weights_within_look_at_the_activation_that_follows():
    layers = [{"dense": 300}, "layer_norm", "relu", {"dense": 300}, "tanh"]
    network = build_network([{"sequence": layers}], (300,))
    flat = np.empty(network.arena.size, np.float32)
    network.init(0, flat)
    p = network.arena.views(flat)
    assert p["0.sequence.0.dense.W"].std() == pytest.approx(np.sqrt(2 / 300), rel=0.02)
    assert p["0.sequence.3.dense.W"].std() == pytest.approx(np.sqrt(2 / 600), rel=0.02)
    assert (p["0.sequence.1.layer_norm.scale"] == 1).all()
    assert not p["0.sequence.1.layer_norm.shift"].any()


def test_no_gradient_goes_further_down_than_the_first_parameters():
    """The first layer with parameters has no use for its input's gradient, within containers, too."""
    asked = []
    dense = build_layer({"dense": 4})

    def forward(p, x, ctx):
        asked.append(ctx.wants_input_gradient)
        return dense.forward(p, x, ctx)

    spied = dense._replace(forward=forward)
    residual = build_layer({"residual": ["tanh", spied, "relu", spied]})
    network = build_network([residual, spied], (4,))
    x, g = rng().normal(size=(3, 4)), np.empty(network.arena.size)
    y, backward = network.forward(weights_of(network, np.float64), x, Pass(Workspace(), training=True))
    backward(np.ones_like(y), g)
    assert asked == [False, True, True]


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ({"residual": [{"dense": 3}]}, ShapeError, r"\(4,\) become \(3,\)"),
        ({"residual": []}, ConfigError, "is no list of layers"),
        ({"sequence": "relu"}, ConfigError, "is no list of layers"),
        ({"sequence": ["rellu"]}, ConfigError, "did you mean `relu`"),
        ({"repeat": {"times": 0, "layers": ["relu"]}}, ConfigError, "`repeat.times` is 0"),
        ({"parallel": {"branches": [["relu"], [{"dense": 3}]]}}, ShapeError, r"\(4,\), \(3,\)"),
        ({"parallel": {"branches": [["relu"]], "join": "ad"}}, ConfigError, "did you mean `add`"),
        ({"parallel": {"branches": ["relu"]}}, ConfigError, "is no list of layers"),
        ({"sequence": ["relu", {"conv2d": 3}]}, ShapeError, "layer 0.sequence: layer 1.conv2d"),
        ({"group_norm": 3}, ShapeError, "4 channels do not divide by 3"),
        ({"layer_norm": 0}, ConfigError, "`layer_norm.eps` is 0"),
    ],
)
def test_containers_that_do_not_fit_are_refused(spec, error, said):
    with pytest.raises(error, match=said):
        build_network([spec], (4,))


def normalized(spec, x):
    layer = build_layer(spec)
    p = {name: rng(4).normal(size=shape) for name, shape in layer.shapes(x.shape[1:])[1].items()}
    return layer.forward(p, x.copy(), Context(Workspace(), 0, np.dtype(np.float64)))[0], p


@pytest.mark.parametrize("shape", [(6,), (3, 2, 6)])
def test_layer_and_rms_norm_are_their_formulas(shape):
    x = 5 + 3 * rng().normal(size=(4, *shape))
    y, p = normalized({"layer_norm": 0.01}, x)
    centered = x - x.mean(axis=-1, keepdims=True)
    expected = centered / np.sqrt(x.var(axis=-1, keepdims=True) + 0.01) * p["scale"] + p["shift"]
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    y, p = normalized({"rms_norm": 0.01}, x)
    np.testing.assert_allclose(y, x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 0.01) * p["scale"], rtol=1e-12)


def test_group_norm_is_its_formula():
    x = 5 + 3 * rng().normal(size=(4, 3, 2, 6))
    y, p = normalized({"group_norm": {"groups": 2, "eps": 0.01}}, x)
    for row in range(4):
        for group in (slice(0, 3), slice(3, 6)):
            part = x[row, :, :, group]
            expected = (part - part.mean()) / np.sqrt(part.var() + 0.01) * p["scale"][group] + p["shift"][group]
            np.testing.assert_allclose(y[row, :, :, group], expected, rtol=1e-10, atol=1e-12)
