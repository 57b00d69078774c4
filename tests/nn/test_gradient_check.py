"""Gradients of whole networks belong to their losses; and the check finds those that do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.nn.dense import dense
from distprop.nn.gradient_check import check_layer, check_network, directional_error
from distprop.nn.losses import LOSSES
from distprop.nn.network import build_network
from tests.nn.cases import DEEP, rng

ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "softplus", "softmax", {"dropout": 0.3}]
BLOCKS = [
    {"layer_norm": 0.1},
    {"residual": ["tanh", {"rms_norm": 0.1}]},
    {"sequence": ["silu", {"dropout": 0.1}]},
    {"parallel": {"branches": [["tanh"], [{"dense": 2}, "relu"]], "join": "concat"}},
]


def targets(loss: str, rows: int, width: int) -> np.ndarray:
    if LOSSES[loss].task == "regression":
        return rng(7).normal(size=(rows, width))
    return rng(7).integers(0, max(2, width), rows)


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=8, deadline=None)
@given(
    hidden=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(ACTIVATIONS + BLOCKS)), max_size=3),
    rows=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_gradients_belong_to_the_loss_in_any_network(loss, hidden, rows, seed):
    width = 1 if loss in ("binary_cross_entropy", "pinball") else 3
    last = "softplus" if loss == "poisson" else {"dropout": 0}
    layers = [spec for size, activation in hidden for spec in ({"dense": size + 1}, activation)]
    network = build_network([*layers, {"dense": LOSSES[loss].outputs_for(width)}, last], (2, 3))
    x = rng(seed).normal(size=(rows, 2, 3))
    assert check_network(network, LOSSES[loss], x, targets(loss, rows, width), rng(seed)) < 1e-6


def test_gradients_belong_to_the_loss_in_a_deep_network_with_weighted_rows():
    network, x = build_network(DEEP, (9,)), rng().normal(size=(12, 9))
    loss = LOSSES["softmax_cross_entropy"]
    weights = rng(1).uniform(0, 2, 12)
    assert check_network(network, loss, x, targets(loss.name, 12, 4), rng(2), weights) < 1e-6


def broken_dense(width: int, broken: str):
    """A dense layer whose backward is a little wrong in one place."""
    good = dense(width)

    def forward(p, x, ctx):
        y, backward = good.forward(p, x, ctx)

        def wrong(dy, g):
            dx = backward(dy, g)
            if broken == "dx":
                return dx * 1.001
            g[broken][...] *= 1.001
            return dx

        return y, wrong

    return good._replace(forward=forward)


@pytest.mark.parametrize("broken", ["W", "b", "dx"])
def test_a_broken_backward_is_found_in_a_layer(broken):
    assert check_layer(dense(4), (5,), rng()) < 1e-6
    assert check_layer(broken_dense(4, broken), (5,), rng()) > 1e-4


@pytest.mark.parametrize("broken", ["W", "b", "dx"])
def test_a_broken_backward_is_found_in_a_network(broken):
    network = build_network([{"dense": 6}, "tanh", broken_dense(4, broken), "tanh", {"dense": 3}], (5,))
    x = rng().normal(size=(8, 5))
    loss = LOSSES["softmax_cross_entropy"]
    assert check_network(network, loss, x, targets(loss.name, 8, 3), rng()) > 1e-5


def test_images_with_a_plain_background_are_no_reason_for_doubt():
    """A pool whose largest value is there twice has a kink, which is no fault of a gradient."""
    network = build_network([{"conv2d": 3}, "max_pool2d", "flatten", {"dense": 3}], (8, 8, 1))
    x = np.zeros((6, 8, 8, 1))
    x[:, 3:5, 3:5] = rng(1).normal(size=(6, 2, 2, 1))
    assert check_network(network, LOSSES["softmax_cross_entropy"], x, rng(2).integers(0, 3, 6), rng(3)) < 1e-6


def test_a_gradient_that_was_not_written_is_found():
    good = dense(4)

    def forward(p, x, ctx):
        y, _ = good.forward(p, x, ctx)
        return y, lambda dy, g: dy @ p["W"].T  # noqa: ARG005 - which is what is wrong

    assert not check_layer(good._replace(forward=forward), (5,), rng()) < 1e-6


def test_a_loss_whose_gradient_is_of_another_function_is_found():
    good = LOSSES["mean_squared_error"]

    def forgets_the_two(outputs, y, weights, dout):
        value = good.value_and_gradient(outputs, y, weights, dout)
        dout *= 0.5
        return value

    network = build_network([{"dense": 1}], (5,))
    x, y = rng().normal(size=(8, 5)), rng(1).normal(size=8)
    assert check_network(network, good, x, y, rng()) < 1e-6
    assert check_network(network, good._replace(value_and_gradient=forgets_the_two), x, y, rng()) > 0.1


def test_one_wrong_coordinate_is_found():
    at = rng().normal(size=50)
    grad = 2 * at

    def square(x):
        return float(x @ x)

    assert directional_error(square, grad, at, rng(1)) < 1e-6
    grad[7] += 1e-2
    assert directional_error(square, grad, at, rng(1)) > 1e-5
