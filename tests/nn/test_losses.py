"""Laws of losses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.nn.gradient_check import directional_error
from distprop.nn.losses import LOSSES, build_loss
from tests.nn.cases import rng

WIDTHS = {"softmax_cross_entropy": (2, 5), "mean_squared_error": (1, 3), "binary_cross_entropy": (1,)}
EACH = [(name, width) for name, widths in WIDTHS.items() for width in widths]


def drawn(name: str, rows: int, width: int, seed: int = 0):
    """Outputs (rows, width), targets and weights."""
    draw = rng(seed)
    outputs, weights = draw.normal(size=(rows, width)), draw.uniform(0.1, 3.0, rows)
    if name == "mean_squared_error":
        return outputs, draw.normal(size=(rows, width)), weights
    return outputs, draw.integers(0, max(2, width), rows), weights


def value_and_gradient(name, outputs, targets, weights):
    dout = np.full_like(outputs, np.nan)
    return LOSSES[name].value_and_gradient(outputs, targets, weights, dout), dout


def test_every_loss_has_a_case():
    assert LOSSES.keys() == WIDTHS.keys(), "a new loss needs a line in WIDTHS"


@pytest.mark.parametrize(("name", "width"), EACH)
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 9), seed=st.integers(0, 2**16), weighted=st.booleans())
def test_gradients_belong_to_values(name, width, rows, seed, weighted):
    outputs, targets, weights = drawn(name, rows, width, seed)
    weights = weights if weighted else None
    _, grad = value_and_gradient(name, outputs, targets, weights)

    def value(at):
        return value_and_gradient(name, at, targets, weights)[0]

    assert min(directional_error(value, grad, outputs, rng(seed), eps) for eps in (1e-4, 1e-5, 1e-6)) < 1e-6


@pytest.mark.parametrize(("name", "width"), EACH)
def test_the_whole_is_the_sum_of_its_rows(name, width):
    outputs, targets, weights = drawn(name, 7, width)
    value, grad = value_and_gradient(name, outputs, targets, weights)
    rows = [
        value_and_gradient(name, outputs[row : row + 1], targets[row : row + 1], weights[row : row + 1])
        for row in range(7)
    ]
    assert value == pytest.approx(math.fsum(part for part, _ in rows), rel=1e-13)
    np.testing.assert_allclose(grad, np.concatenate([part for _, part in rows]), rtol=1e-13)


@pytest.mark.parametrize(("name", "width"), EACH)
def test_no_weights_are_weights_of_one_to_the_last_bit(name, width):
    outputs, targets, _ = drawn(name, 7, width)
    outputs = outputs.astype(np.float32)
    value, grad = value_and_gradient(name, outputs, targets, None)
    one_value, one_grad = value_and_gradient(name, outputs, targets, np.ones(7, np.float32))
    assert (value, grad.tobytes()) == (one_value, one_grad.tobytes())


@pytest.mark.parametrize(("name", "width"), EACH)
def test_a_row_of_weight_zero_does_not_count(name, width):
    outputs, targets, _ = drawn(name, 4, width)
    value, grad = value_and_gradient(name, outputs, targets, np.array([1.0, 0.0, 1.0, 1.0]))
    keep = [0, 2, 3]
    assert value == pytest.approx(value_and_gradient(name, outputs[keep], targets[keep], None)[0])
    assert not grad[1].any()


@pytest.mark.parametrize(("name", "width"), EACH)
def test_float32_outputs_give_a_float32_gradient_and_the_right_value(name, width):
    outputs, targets, weights = drawn(name, 50, width)
    value, grad = value_and_gradient(name, outputs.astype(np.float32), targets, weights.astype(np.float32))
    assert grad.dtype == np.float32
    assert isinstance(value, float)
    assert value == pytest.approx(value_and_gradient(name, outputs, targets, weights)[0], rel=1e-6)


def test_softmax_cross_entropy_is_its_formula():
    outputs, targets, weights = drawn("softmax_cross_entropy", 6, 4)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    expected = -(weights * np.log(shares[np.arange(6), targets])).sum()
    assert value_and_gradient("softmax_cross_entropy", outputs, targets, weights)[0] == pytest.approx(expected)
    np.testing.assert_allclose(LOSSES["softmax_cross_entropy"].activation(outputs), shares)


def test_binary_cross_entropy_is_softmax_over_zero_and_the_output():
    outputs, targets, weights = drawn("binary_cross_entropy", 6, 1)
    pairs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    expected, _ = value_and_gradient("softmax_cross_entropy", pairs, targets, weights)
    assert value_and_gradient("binary_cross_entropy", outputs, targets, weights)[0] == pytest.approx(expected)
    np.testing.assert_allclose(LOSSES["binary_cross_entropy"].activation(outputs), 1 / (1 + np.exp(-outputs)))


def test_mean_squared_error_is_the_mean_over_outputs_and_the_sum_over_rows():
    outputs, targets = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 2.0]])
    value, grad = value_and_gradient("mean_squared_error", outputs, targets, np.array([1.0, 10.0]))
    assert value == 2.5 + 20.0
    assert grad.tolist() == [[1.0, 2.0], [0.0, -20.0]]


@pytest.mark.parametrize("name", ["mean_squared_error", "binary_cross_entropy"])
def test_one_output_may_come_as_a_vector(name):
    outputs, targets, weights = drawn(name, 6, 1)
    value, grad = value_and_gradient(name, outputs, targets, weights)
    flat_value, flat_grad = value_and_gradient(name, outputs[:, 0], targets.reshape(-1), weights)
    assert (value, grad.tobytes()) == (flat_value, flat_grad.tobytes())


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_large_outputs_overflow_nothing(name):
    outputs = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)[:, : WIDTHS[name][0]]
    value, grad = value_and_gradient(name, outputs, np.array([1, 1]), None)
    assert value == pytest.approx(2e4 if name.startswith("softmax") else 1e4)
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_are_not_written(name):
    outputs, targets, weights = drawn(name, 3, WIDTHS[name][0])
    outputs.flags.writeable = False
    value_and_gradient(name, outputs, targets, weights)
    assert LOSSES[name].activation(outputs).flags.writeable


def test_losses_are_built_by_name():
    assert build_loss("mean_squared_error") is LOSSES["mean_squared_error"]
    assert build_loss({"mean_squared_error": None}) is LOSSES["mean_squared_error"]
    with pytest.raises(ConfigError, match="did you mean `mean_squared_error`"):
        build_loss("mean_square_error")
    with pytest.raises(ConfigError, match="has none"):
        build_loss({"mean_squared_error": {"delta": 1}})
