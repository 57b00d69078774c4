"""Laws of metrics and counts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.nn.counts import confusion, scatter
from distprop.nn.metrics import DEFAULTS, METRICS, build_metrics
from tests.nn.cases import rng

CASES = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1", "log_loss"), (1, 4)),
    **dict.fromkeys(("mae", "mse", "rmse", "r2"), (1, 3)),
    **dict.fromkeys(("top_3", "top_5"), (2, 7)),
}
EACH = [(name, width) for name, widths in CASES.items() for width in widths]


def drawn(name: str, width: int, rows: int = 12, seed: int = 0):
    draw = rng(seed)
    outputs, weights = draw.normal(size=(rows, width)), draw.uniform(0.1, 3.0, rows)
    if "regression" not in METRICS[name].tasks:
        return outputs, draw.integers(0, max(2, width), rows), weights
    return outputs, outputs + draw.normal(size=(rows, width)) + 3.0, weights


def value_of(name, outputs, targets, weights=None) -> float:
    total = float(len(outputs)) if weights is None else float(weights.sum())
    return METRICS[name].value(METRICS[name].sums(outputs, targets, weights), total)


def test_every_metric_has_a_case():
    assert METRICS.keys() == CASES.keys(), "a new metric needs a line in CASES"


@pytest.mark.parametrize(("name", "width"), EACH)
@settings(max_examples=10, deadline=None)
@given(cut=st.integers(0, 12), seed=st.integers(0, 999))
def test_sums_of_parts_add_up_to_those_of_the_whole(name, width, cut, seed):
    outputs, targets, weights = drawn(name, width, seed=seed)
    sums = METRICS[name].sums
    parts = sums(outputs[:cut], targets[:cut], weights[:cut]) + sums(outputs[cut:], targets[cut:], weights[cut:])
    whole = sums(outputs, targets, weights)
    assert whole.shape == (METRICS[name].width(width),)
    assert whole.dtype == np.float64
    np.testing.assert_allclose(parts, whole, rtol=1e-13)


@pytest.mark.parametrize(("name", "width"), EACH)
def test_a_weight_of_two_is_the_row_twice(name, width):
    outputs, targets, _ = drawn(name, width)
    twice = value_of(name, np.concatenate([outputs, outputs[:3]]), np.concatenate([targets, targets[:3]]))
    assert value_of(name, outputs, targets, np.repeat([2.0, 1.0], [3, 9])) == pytest.approx(twice, rel=1e-12)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_regression_metrics_are_scikit_learns(width, weighted):
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = drawn("r2", width)
    weights = weights if weighted else None
    for name, function in {
        "mae": reference.mean_absolute_error,
        "mse": reference.mean_squared_error,
        "r2": reference.r2_score,
    }.items():
        expected = function(targets, outputs, sample_weight=weights)
        assert value_of(name, outputs, targets, weights) == pytest.approx(expected, rel=1e-12)
    assert value_of("rmse", outputs, targets) == pytest.approx(math.sqrt(value_of("mse", outputs, targets)))


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_class_metrics_are_scikit_learns(width, weighted, seed):
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = drawn("f1", width, rows=6 + 20 * (seed % 2), seed=seed)
    weights = weights if weighted else None
    labels = outputs.argmax(axis=1) if width > 1 else (outputs[:, 0] > 0).astype(int)
    average = "macro" if width > 1 else "binary"
    for name in ("precision", "recall", "f1"):
        function = getattr(reference, f"{name}_score")
        expected = function(targets, labels, average=average, sample_weight=weights, zero_division=0)
        assert value_of(name, outputs, targets, weights) == pytest.approx(expected, rel=1e-12)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True) if width > 1 else 1 / (1 + np.exp(-outputs))
    shares = shares if width > 1 else np.concatenate([1 - shares, shares], axis=1)
    expected = reference.log_loss(targets, shares, labels=range(max(2, width)), sample_weight=weights)
    assert value_of("log_loss", outputs, targets, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_top_counts_labels_among_the_largest_outputs(count):
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = drawn("top_3", 7, rows=30)
    (metric,) = build_metrics([f"top_{count}"], "classification")
    found = metric.value(metric.sums(outputs, targets, weights), weights.sum())
    expected = reference.top_k_accuracy_score(targets, outputs, k=count, sample_weight=weights, labels=range(7))
    assert found == pytest.approx(expected, rel=1e-12)


def test_top_one_is_accuracy_where_outputs_are_equal():
    outputs, targets = np.zeros((4, 3)), np.array([0, 1, 2, 0])
    (metric,) = build_metrics(["top_1"], "classification")
    assert metric.value(metric.sums(outputs, targets, None), 4.0) == value_of("accuracy", outputs, targets) == 0.5


def test_regression_metrics_of_several_quantiles_are_means_over_them():
    outputs, targets = rng().normal(size=(9, 3)), rng(1).normal(size=(9, 1))
    each = [value_of("r2", outputs[:, k : k + 1], targets) for k in range(3)]
    assert value_of("r2", outputs, targets) == pytest.approx(np.mean(each), rel=1e-12)


def test_r2_of_constant_targets_is_one_if_they_are_met_and_else_zero():
    targets = np.full((9, 1), 1e6 + 0.1)
    assert value_of("r2", targets, targets) == 1.0
    assert value_of("r2", targets + 1.0, targets) == 0.0


def test_accuracy_counts_the_largest_output():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert value_of("accuracy", outputs, np.array([1, 1, 1])) == pytest.approx(2 / 3)


def test_accuracy_of_one_output_counts_its_sign():
    assert value_of("accuracy", np.array([[0.5], [-0.5], [2.0], [-1.0]]), np.array([1, 0, 0, 0])) == 0.75


@pytest.mark.parametrize("name", METRICS)
def test_no_rows_give_nan(name):
    metric = METRICS[name]
    assert math.isnan(metric.value(np.zeros(metric.width(2)), 0.0))


def test_metrics_that_suit_the_loss_are_the_default():
    assert [metric.name for metric in build_metrics(None, "regression")] == list(DEFAULTS["regression"])
    assert build_metrics([], "regression") == ()


def test_unknown_and_unfitting_metrics_are_refused():
    with pytest.raises(ConfigError, match="did you mean `accuracy`"):
        build_metrics(["acuracy"], "binary")
    with pytest.raises(ConfigError, match="regression"):
        build_metrics(["accuracy"], "regression")
    with pytest.raises(ConfigError, match="binary"):
        build_metrics(["top_3"], "binary")
    with pytest.raises(ConfigError, match="unknown metric 'top_0'"):
        build_metrics(["top_0"], "classification")


def test_confusion_has_actual_classes_in_rows():
    outputs = np.eye(3)[[0, 1, 1, 2]]
    table = confusion(outputs, np.array([0, 1, 2, 2]), np.array([1.0, 2.0, 3.0, 4.0]), 3)
    assert table.tolist() == [[1, 0, 0], [0, 2, 0], [0, 3, 4]]


def test_scatter_has_actual_values_in_rows_and_the_ends_take_the_rest():
    outputs = np.array([[0.5], [9.0], [np.nan], [-9.0], [4.0]])
    table = scatter(outputs, np.array([0.5, 1.5, 2.5, 3.5, 4.0]), None, 0.0, 4.0, bins=4)
    assert table.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 1]]


def test_scatter_of_constant_targets_is_one_cell():
    assert scatter(np.full((3, 1), 2.0), np.full(3, 2.0), None, 2.0, 2.0, bins=2).tolist() == [[3, 0], [0, 0]]
