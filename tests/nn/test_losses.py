"""Laws of losses."""

import inspect
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError, ShapeError
from distprop.nn.gradient_check import directional_error
from distprop.nn.leaf import require_outputs
from distprop.nn.losses import ELSEWHERE, LOSS_KINDS, LOSSES, Loss, build_loss
from distprop.nn.network import build_network
from tests.nn.cases import rng

WIDTHS = {
    "softmax_cross_entropy": (2, 5),
    "mean_squared_error": (1, 3),
    "binary_cross_entropy": (1,),
    "mean_absolute_error": (1, 3),
    "huber": (1, 3),
    "pinball": (1,),
    "poisson": (1, 3),
    "gaussian": (2, 6),
}
SET = {
    "weighted": {"softmax_cross_entropy": {"class_weights": [0.5, 2.0, 0.0, 1.5], "label_smoothing": 0.1}},
    "weighted_binary": {"binary_cross_entropy": {"class_weights": [0.4, 3.0]}},
    "smooth": {"softmax_cross_entropy": {"label_smoothing": 0.2}},
    "smooth_binary": {"binary_cross_entropy": 0.2},
    "small_huber": {"huber": 0.3},
    "quantiles": {"pinball": [0.1, 0.5, 0.8]},
}
EACH = [(name, width) for name, widths in WIDTHS.items() for width in widths]
EACH += [
    ("weighted", 4),
    ("weighted_binary", 1),
    ("smooth", 4),
    ("smooth_binary", 1),
    ("small_huber", 2),
    ("quantiles", 3),
]


def made(name: str) -> Loss:
    return build_loss(SET.get(name, name))


def drawn(name: str, rows: int, width: int, seed: int = 0):
    """Outputs (rows, width), targets and weights."""
    draw = rng(seed)
    outputs, weights = draw.normal(size=(rows, width)), draw.uniform(0.1, 3.0, rows)
    if made(name).name == "poisson":
        return np.exp(outputs), draw.poisson(2.0, (rows, width)).astype(np.float64), weights
    if made(name).task == "regression":
        values = {"pinball": 1, "gaussian": width // 2}.get(made(name).name, width)
        return outputs, draw.normal(size=(rows, values)), weights
    return outputs, draw.integers(0, max(2, width), rows), weights


def value_and_gradient(name, outputs, targets, weights):
    dout = np.full_like(outputs, np.nan)
    return made(name).value_and_gradient(outputs, targets, weights, dout), dout


def test_every_loss_has_a_case():
    assert LOSSES.keys() == WIDTHS.keys(), "a new loss needs a line in WIDTHS"


def test_every_loss_with_settings_is_tried_with_some():
    with_settings = {name for name, make in LOSS_KINDS.items() if inspect.signature(make).parameters}
    assert with_settings == {next(iter(spec)) for spec in SET.values()}


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
    _, exact = value_and_gradient(name, outputs.astype(np.float32).astype(np.float64), targets, weights)
    assert np.abs(grad - exact).max() <= 1e-6 * np.abs(exact).max()


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


def by_hand(name, z, t):
    """The loss of one row as its documentation has it. z: outputs, t: target values or a label."""
    if name == "weighted":
        aims = [0.1 / 4 + 0.9 * (k == t) for k in range(4)]
        return -(0.5, 2.0, 0.0, 1.5)[t] * sum(
            a * (v - math.log(sum(map(math.exp, z)))) for a, v in zip(aims, z, strict=True)
        )
    if name == "weighted_binary":
        return (0.4, 3.0)[t] * by_hand("binary_cross_entropy", z, t)
    if name == "gaussian":
        means, spreads = z[: len(t)], [math.exp(v / 2) for v in z[len(t) :]]
        parts = [-math.log(NormalDist(m, s).pdf(v)) for m, s, v in zip(means, spreads, t, strict=True)]
        return sum(parts) / len(parts)
    if name in ("softmax_cross_entropy", "smooth"):
        s = 0.2 if name == "smooth" else 0.0
        aims = [s / len(z) + (1 - s) * (k == t) for k in range(len(z))]
        return -sum(a * (v - math.log(sum(map(math.exp, z)))) for a, v in zip(aims, z, strict=True))
    if name in ("binary_cross_entropy", "smooth_binary"):
        aim = t * 0.8 + 0.1 if name == "smooth_binary" else t
        p = 1 / (1 + math.exp(-z[0]))
        return -aim * math.log(p) - (1 - aim) * math.log(1 - p)
    if name in ("pinball", "quantiles"):
        quantiles = [0.1, 0.5, 0.8] if name == "quantiles" else [0.5]
        parts = [q * (t[0] - v) if t[0] > v else (1 - q) * (v - t[0]) for q, v in zip(quantiles, z, strict=True)]
        return sum(parts) / len(parts)
    return sum(of_one_value(name, v, of) for v, of in zip(z, t, strict=True)) / len(z)


def of_one_value(name, v, of):
    if name == "poisson":
        return v - of * math.log(v)
    e = abs(v - of)
    if name == "mean_squared_error":
        return e * e
    delta = {"huber": 1.0, "small_huber": 0.3, "mean_absolute_error": None}[name]
    if delta is None:
        return e
    return e * e / 2 if e < delta else delta * (e - delta / 2)


@pytest.mark.parametrize(("name", "width"), EACH)
def test_losses_are_their_formulas(name, width):
    outputs, targets, weights = drawn(name, 9, width)
    expected = sum(w * by_hand(name, z.tolist(), t.tolist()) for z, t, w in zip(outputs, targets, weights, strict=True))
    assert value_and_gradient(name, outputs, targets, weights)[0] == pytest.approx(expected, rel=1e-12)


def test_losses_are_scikit_learns():
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = drawn("quantiles", 20, 3)
    expected = [reference.mean_pinball_loss(targets, outputs[:, k], alpha=q) for k, q in enumerate((0.1, 0.5, 0.8))]
    assert value_and_gradient("quantiles", outputs, targets, None)[0] / 20 == pytest.approx(np.mean(expected))
    rates, counts, _ = drawn("poisson", 20, 1)
    found = value_and_gradient("poisson", rates, counts, weights)[0]
    least = value_and_gradient("poisson", np.maximum(counts, 1e-9), counts, weights)[0]
    deviance = reference.mean_poisson_deviance(counts, rates, sample_weight=weights)
    assert 2 * (found - least) / weights.sum() == pytest.approx(deviance, rel=1e-5)


def test_rates_that_are_not_positive_are_pushed_up():
    value, grad = value_and_gradient("poisson", np.array([[0.0], [-1.0]]), np.array([[1.0], [2.0]]), None)
    assert np.isfinite(value)
    assert (grad < 0).all()


def test_quantiles_need_an_output_each():
    assert made("quantiles").outputs_for(1) == 3
    require_outputs(build_network([{"dense": 3}], (4,)), made("quantiles"))
    with pytest.raises(ShapeError, match="dense: 3"):
        require_outputs(build_network([{"dense": 1}], (4,)), made("quantiles"), 1)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"huber": 0}, "`huber.delta` is 0"),
        ({"huber": {"detla": 1.0}}, "did you mean `delta`"),
        ({"pinball": [0.5, 1.5]}, "`pinball.quantiles` is 1.5"),
        ({"pinball": []}, "is empty"),
        ({"softmax_cross_entropy": {"label_smoothing": 1.0}}, "from 0 to below 1"),
        ({"poisson": 3}, "has none"),
        ({"softmax_cross_entropy": {"class_weights": [1.0, -1.0]}}, "class_weights` is -1.0"),
        ({"softmax_cross_entropy": {"class_weights": "balanced"}}, "one number for each class"),
        ({"binary_cross_entropy": {"class_weights": [1.0]}}, "one number for each class"),
    ],
)
def test_wrong_settings_are_refused(spec, said):
    with pytest.raises(ConfigError, match=said):
        build_loss(spec)


def test_losses_are_built_by_name():
    assert build_loss("mean_squared_error") is LOSSES["mean_squared_error"]
    assert build_loss({"mean_squared_error": None}) is LOSSES["mean_squared_error"]
    with pytest.raises(ConfigError, match="did you mean `mean_squared_error`"):
        build_loss("mean_square_error")
    with pytest.raises(ConfigError, match="has none"):
        build_loss({"mean_squared_error": {"delta": 1}})


def test_a_class_weight_is_a_row_weight():
    outputs, targets, weights = drawn("softmax_cross_entropy", 9, 4)
    rows = np.array([0.5, 2.0, 0.0, 1.5])[targets] * weights
    loss = build_loss({"softmax_cross_entropy": {"class_weights": [0.5, 2.0, 0.0, 1.5]}})
    dout = np.empty_like(outputs)
    value = loss.value_and_gradient(outputs, targets, weights, dout)
    expected, grad = value_and_gradient("softmax_cross_entropy", outputs, targets, rows)
    assert value == expected
    np.testing.assert_array_equal(dout, grad)


CLASS_WEIGHTS = np.array([0.5, 2.0, 0.0, 1.5])


def log_shares(outputs):
    return outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))


def test_class_weights_are_kerass_and_pytorchs_times_the_mean_weight_of_the_labels():
    outputs, targets, _ = drawn("softmax_cross_entropy", 9, 4)
    given = {"softmax_cross_entropy": {"class_weights": CLASS_WEIGHTS.tolist()}}
    ours = build_loss(given).value_and_gradient(outputs, targets, None, np.empty_like(outputs)) / len(outputs)
    own, rows = CLASS_WEIGHTS[targets], -log_shares(outputs)[np.arange(9), targets]
    assert ours == pytest.approx((own * rows).mean(), rel=1e-12), "Keras: sum_over_batch_size"
    pytorch = (own * rows).sum() / own.sum()  # CrossEntropyLoss(weight=..., reduction="mean")
    assert ours == pytest.approx(pytorch * own.mean(), rel=1e-12)


def test_a_class_weight_multiplies_the_whole_smoothed_loss_of_its_rows_as_in_keras():
    outputs, targets, _ = drawn("softmax_cross_entropy", 9, 4)
    given = {"softmax_cross_entropy": {"class_weights": CLASS_WEIGHTS.tolist(), "label_smoothing": 0.2}}
    ours = build_loss(given).value_and_gradient(outputs, targets, None, np.empty_like(outputs))
    aims = 0.8 * np.eye(4)[targets] + 0.2 / 4
    keras = (CLASS_WEIGHTS[targets] * -(aims * log_shares(outputs)).sum(axis=1)).sum()
    pytorch = -(aims * CLASS_WEIGHTS * log_shares(outputs)).sum()  # before its mean: each class by its own weight
    assert ours == pytest.approx(keras, rel=1e-12)
    assert ours != pytest.approx(pytorch, rel=1e-3), "or the two could not be told apart"


def test_gaussian_predicts_means_and_needs_two_outputs_a_value():
    loss = LOSSES["gaussian"]
    outputs = np.arange(12.0).reshape(2, 6)
    assert loss.outputs_for(3) == 6
    assert loss.predicted_width(6) == 3
    assert loss.predicted(outputs).tolist() == loss.activation(outputs).tolist() == [[0, 1, 2], [6, 7, 8]]
    assert LOSSES["mean_squared_error"].predicted_width(6) == 6


@pytest.mark.parametrize(("theirs", "ours"), ELSEWHERE.items())
def test_a_name_from_elsewhere_is_understood_and_refused(theirs, ours):
    with pytest.raises(ConfigError, match=f"did you mean `{ours}`"):
        build_loss(theirs)
