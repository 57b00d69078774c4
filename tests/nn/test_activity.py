"""Dead and saturated units are found wherever they are, however rows are cut into passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.nn.activity import watched
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import build_loss
from distprop.nn.network import Network, build_network
from tests.nn.cases import rng, weights_of

FLAT = [{"dense": 8}, "relu", {"dense": 6}, "tanh", {"dense": 5}, "sigmoid", {"dense": 3}]
IMAGES = [
    {"conv2d": {"channels": 6, "kernel": 3}},
    "relu",
    {"max_pool2d": 2},
    {"residual": [{"conv2d": {"channels": 6, "kernel": 3}}, "tanh", {"repeat": {"times": 2, "layers": ["relu"]}}]},
    {"parallel": {"branches": [["relu"], ["sigmoid", "relu"]]}},
    "flatten",
    {"dense": 3},
]


def computer(network: Network) -> LeafComputer:
    return LeafComputer(network, build_loss("softmax_cross_entropy"), (), seed=1, activity=watched(network.stages))


def figures(leaf: LeafComputer, flat: np.ndarray, x: np.ndarray, cuts: list[int]) -> dict[str, float]:
    y, total = np.zeros(len(x), np.int64), np.zeros(leaf.evaluation_width)
    for start, stop in zip([0, *cuts], [*cuts, len(x)], strict=True):
        total += leaf.evaluate(flat, x[start:stop], y[start:stop])
    return leaf.layout.read_activity(total)


def test_every_activation_has_a_figure_and_those_inside_of_others_too() -> None:
    network = build_network(IMAGES, (8, 8, 1))
    found = figures(computer(network), weights_of(network), rng(0).normal(size=(20, 8, 8, 1)).astype(np.float32), [])
    inner = ["saturated/3.residual.1.tanh", "dead/3.residual.2.repeat.0.relu", "dead/3.residual.2.repeat.1.relu"]
    branches = ["dead/4.parallel.0.0.relu", "saturated/4.parallel.1.0.sigmoid", "dead/4.parallel.1.1.relu"]
    assert list(found) == ["dead/1.relu", *inner, *branches]


@settings(max_examples=10, deadline=None)
@given(dead=st.sets(st.integers(0, 7)), cuts=st.lists(st.integers(1, 39), max_size=3, unique=True))
def test_units_are_dead_that_no_row_wakes(dead: set[int], cuts: list[int]) -> None:
    network, x = build_network(FLAT, (7,)), rng(2).normal(size=(40, 7)).astype(np.float32)
    flat = weights_of(network).copy()
    bias = network.arena.views(flat)["0.dense.b"]
    bias[:] = 50.0
    bias[sorted(dead)] = -100.0
    found = figures(computer(network), flat, x, sorted(cuts))
    assert found["dead/1.relu"] == len(dead) / 8


def test_one_row_wakes_a_channel() -> None:
    network = build_network(IMAGES, (8, 8, 1))
    flat, x = weights_of(network).copy(), np.zeros((33, 8, 8, 1), np.float32)
    views = network.arena.views(flat)
    views["0.conv2d.W"][...], views["0.conv2d.b"][...] = 1.0, -1.0
    views["0.conv2d.b"][0] = 2.0
    assert figures(computer(network), flat, x, [])["dead/1.relu"] == 5 / 6
    x[32, 4, 4] = 9.0
    assert figures(computer(network), flat, x, [])["dead/1.relu"] == 0.0


@pytest.mark.parametrize(("layer", "figure"), [("2.dense", "saturated/3.tanh"), ("4.dense", "saturated/5.sigmoid")])
def test_outputs_at_either_limit_are_saturated(layer: str, figure: str) -> None:
    network, x = build_network(FLAT, (7,)), rng(2).normal(size=(40, 7)).astype(np.float32)
    flat = weights_of(network).copy()
    views = network.arena.views(flat)
    views[f"{layer}.W"][...] = 0.0
    bias = views[f"{layer}.b"]
    bias[:] = 0.0
    bias[:2] = [20.0, -20.0]
    assert figures(computer(network), flat, x, [13])[figure] == pytest.approx(2 / bias.size)


def test_what_is_not_a_number_is_not_dead() -> None:
    network = build_network(FLAT, (7,))
    flat = np.full(network.arena.size, np.nan, np.float32)
    assert figures(computer(network), flat, np.ones((4, 7), np.float32), [])["dead/1.relu"] == 0.0


def test_watching_changes_no_other_sum() -> None:
    network, x = build_network(FLAT, (7,)), rng(2).normal(size=(40, 7)).astype(np.float32)
    watching, y = computer(network), np.zeros(40, np.int64)
    blind = LeafComputer(network, watching.loss, (), seed=1)
    flat = weights_of(network).copy()
    seen = watching.evaluate(flat, x, y)
    assert seen[: blind.evaluation_width].tobytes() == blind.evaluate(flat, x, y).tobytes()
