"""Laws of metrics and counts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.nn.counts import confusion, scatter
from distprop.nn.metrics import DEFAULTS, METRICS, at_threshold, build_metrics, lower_is_better
from distprop.nn.reliability import curves_of
from distprop.nn.scored import Scored
from tests.nn.cases import rng

SHARED = ("precision", "recall", "f1")
RANKED = ("roc_auc", "average_precision")
CASES = {
    **dict.fromkeys(("accuracy", "log_loss", *RANKED), (1, 4)),
    **dict.fromkeys([name + of for name in SHARED for of in ("", "_macro", "_micro", "_per_class")], (1, 4)),
    **dict.fromkeys(("mae", "mse", "rmse", "r2", "r2_variance_weighted", "pinball"), (1, 3)),
    **dict.fromkeys(("top_3", "top_5"), (2, 7)),
    "operating_point": (1,),
}
EACH = [(name, width) for name, widths in CASES.items() for width in widths]


def drawn(name: str, width: int, rows: int = 12, seed: int = 0):
    draw = rng(seed)
    outputs, weights = draw.normal(size=(rows, width)), draw.uniform(0.1, 3.0, rows)
    if "regression" not in METRICS[name].tasks:
        return outputs, draw.integers(0, max(2, width), rows), weights
    return outputs, outputs + draw.normal(size=(rows, width)) + 3.0, weights


def measured(metric, outputs, targets, weights=None):
    """What a metric says of rows, by whichever way it is measured."""
    if metric.of_rows is not None:
        weights = np.ones(len(outputs)) if weights is None else weights
        return metric.of_rows(Scored(outputs.astype(np.float64), targets.astype(np.float64), weights))
    total = float(len(outputs)) if weights is None else float(weights.sum())
    return metric.value(metric.sums(outputs, targets, weights), total)


def value_of(name, outputs, targets, weights=None):
    return measured(METRICS[name], outputs, targets, weights)


def shares_of(outputs):
    """Probabilities (N, classes) of raw outputs."""
    if outputs.shape[1] > 1:
        return np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    second = 1 / (1 + np.exp(-outputs))
    return np.concatenate([1 - second, second], axis=1)


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
    targets[:, -1] = 1e3 * targets[:, -1]  # of another variance: not each output's share counts alike
    for name, how in {"r2": "uniform_average", "r2_variance_weighted": "variance_weighted"}.items():
        expected = reference.r2_score(targets, outputs, sample_weight=weights, multioutput=how)
        assert value_of(name, outputs, targets, weights) == pytest.approx(expected, rel=1e-12)
    assert value_of("rmse", outputs, targets) == pytest.approx(math.sqrt(value_of("mse", outputs, targets)))


def test_outputs_whose_target_is_constant_do_not_count_by_variance():
    targets = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    outputs = targets + np.array([0.1, 3.0])
    alone = value_of("r2", outputs[:, :1], targets[:, :1])
    assert value_of("r2_variance_weighted", outputs, targets) == pytest.approx(alone, rel=1e-12)
    assert value_of("r2_variance_weighted", outputs[:, 1:], targets[:, 1:]) == 0.0


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
    expected = reference.log_loss(targets, shares_of(outputs), labels=range(max(2, width)), sample_weight=weights)
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
    found = metric.named(metric.value(np.zeros(metric.width(2)), 0.0))
    assert found
    assert all(map(math.isnan, found.values()))
    if metric.of_rows is not None:
        empty = Scored(np.empty((0, 1)), np.empty(0), np.empty(0))
        assert all(map(math.isnan, metric.named(metric.of_rows(empty)).values()))


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


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=10, deadline=None)
@given(rows=st.integers(1, 40), seed=st.integers(0, 999))
def test_averages_over_classes_are_scikit_learns(width, weighted, rows, seed):
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = drawn("f1", width, rows, seed)
    weights = weights if weighted else None
    taken = outputs.argmax(axis=1) if width > 1 else (outputs[:, 0] > 0).astype(int)
    for name in SHARED:
        function, words = getattr(reference, f"{name}_score"), {"sample_weight": weights, "zero_division": 0}
        for average in ("macro", "micro"):
            expected = function(targets, taken, average=average, **words)
            assert value_of(f"{name}_{average}", outputs, targets, weights) == pytest.approx(expected, rel=1e-12)
        each = function(targets, taken, average=None, labels=range(max(2, width)), **words)
        found = value_of(f"{name}_per_class", outputs, targets, weights)
        assert found == pytest.approx({f"{name}_{place}": value for place, value in enumerate(each)}, rel=1e-12)
        (one,) = build_metrics([f"{name}_1"], "binary" if width == 1 else "classification")
        assert measured(one, outputs, targets, weights) == found[f"{name}_1"]


@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 60), seed=st.integers(0, 999), ties=st.booleans())
def test_rankings_of_two_classes_are_scikit_learns(weighted, rows, seed, ties):
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = drawn("roc_auc", 1, rows, seed)
    outputs, weights = np.round(outputs, 0 if ties else 9), weights if weighted else None
    targets[:2] = 0, 1
    for name, function in (
        ("roc_auc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
    ):
        expected = function(targets, outputs[:, 0], sample_weight=weights)
        assert value_of(name, outputs, targets, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(4, 60), seed=st.integers(0, 999), classes=st.integers(3, 6))
def test_rankings_of_many_classes_are_scikit_learns(weighted, rows, seed, classes):
    reference = pytest.importorskip("sklearn.metrics")
    rows = max(rows, classes)
    outputs, targets, weights = drawn("roc_auc", classes, rows, seed)
    targets[:classes], weights = np.arange(classes), weights if weighted else None
    shares = shares_of(outputs)
    expected = reference.roc_auc_score(targets, shares, multi_class="ovr", average="macro", sample_weight=weights)
    assert value_of("roc_auc", outputs, targets, weights) == pytest.approx(expected, rel=1e-12)
    expected = reference.average_precision_score(np.eye(classes)[targets], shares, sample_weight=weights)
    assert value_of("average_precision", outputs, targets, weights) == pytest.approx(expected, rel=1e-12)


def test_rankings_count_classes_that_were_seen():
    outputs = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.1, 1.0, 1.0]])
    assert value_of("roc_auc", outputs, np.array([0, 1, 1])) == 1.0
    for name in RANKED:
        assert math.isnan(value_of(name, outputs, np.array([1, 1, 1])))
        assert math.isnan(value_of(name, np.array([[1.0], [np.nan]]), np.array([0, 1])))


def test_the_operating_point_is_where_both_shares_are_largest_together():
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = drawn("operating_point", 1, rows=80)
    down, up, at = reference.roc_curve(targets, outputs[:, 0], sample_weight=weights, drop_intermediate=False)
    best = np.argmax(up - down)
    found = value_of("operating_point", outputs, targets, weights)
    assert found["operating_sensitivity"] == pytest.approx(up[best])
    assert found["operating_specificity"] == pytest.approx(1 - down[best])
    shares = shares_of(outputs)[:, 1]
    assert ((shares >= found["operating_threshold"]) == (outputs[:, 0] >= at[best])).all()


@pytest.mark.parametrize("sensitivity", [0.0, 0.5, 0.9, 1.0])
def test_an_operating_point_may_be_given_by_its_sensitivity_or_by_its_threshold(sensitivity):
    outputs, targets, weights = drawn("operating_point", 1, rows=80)
    (metric,) = build_metrics([{"operating_point": {"sensitivity": sensitivity}}], "binary")
    found = measured(metric, outputs, targets, weights)
    called, positive = shares_of(outputs)[:, 1] >= found["operating_threshold"], targets == 1
    assert weights[called & positive].sum() / weights[positive].sum() == pytest.approx(found["operating_sensitivity"])
    assert weights[~called & ~positive].sum() / weights[~positive].sum() == pytest.approx(
        found["operating_specificity"]
    )
    assert found["operating_sensitivity"] >= sensitivity
    (same,) = build_metrics([{"operating_point": {"threshold": found["operating_threshold"]}}], "binary")
    assert measured(same, outputs, targets, weights) == found


def test_a_threshold_above_all_scores_calls_none_positive():
    outputs, targets, weights = drawn("operating_point", 1)
    (metric,) = build_metrics([{"operating_point": {"threshold": 0.999}}], "binary")
    assert list(measured(metric, outputs, targets, weights).values()) == [0.999, 0.0, 1.0]


def test_pinball_is_scikit_learns_at_the_quantiles_of_the_outputs():
    reference = pytest.importorskip("sklearn.metrics")
    outputs, targets, weights = rng().normal(size=(20, 3)), rng(1).normal(size=(20, 1)), rng(2).uniform(0.1, 2.0, 20)
    each = {
        q: reference.mean_pinball_loss(targets, outputs[:, k], alpha=q, sample_weight=weights)
        for k, q in enumerate((0.1, 0.5, 0.975))
    }
    specs = ["pinball", {"pinball": 0.975}, {"pinball": [0.1, 0.5]}]
    everything, one, two = build_metrics(specs, "regression", (0.1, 0.5, 0.975))
    assert [metric.name for metric in (everything, one, two)] == ["pinball", "pinball_97_5", "pinball"]
    assert measured(everything, outputs, targets, weights) == pytest.approx(np.mean(list(each.values())), rel=1e-12)
    assert measured(one, outputs, targets, weights) == pytest.approx(each[0.975], rel=1e-12)
    assert measured(two, outputs, targets, weights) == pytest.approx((each[0.1] + each[0.5]) / 2, rel=1e-12)
    assert value_of("pinball", outputs, targets) == pytest.approx(value_of("mae", outputs, targets) / 2)


@pytest.mark.parametrize(
    ("spec", "task", "said"),
    [
        ({"pinball": 0.9}, "regression", "the model gives those at 0.1, 0.5"),
        ({"pinball": []}, "regression", "asks for the quantiles"),
        ({"pinball": 2}, "regression", "metrics.pinball` is 2"),
        ({"operating_point": {"sensitivty": 0.9}}, "binary", "did you mean `sensitivity`"),
        ({"operating_point": {"sensitivity": 0.9, "threshold": 0.1}}, "binary", "keep one of them"),
        ({"operating_point": 1.5}, "binary", "operating_point.sensitivity` is 1.5"),
        ({"roc_auc": 3}, "binary", "has none"),
        ({"accuracy": 3}, "binary", "has none"),
        ("operating_point", "classification", "does not fit"),
        ("roc_acu", "binary", "did you mean `roc_auc`"),
        ({"pinbal": 0.1}, "regression", "did you mean `pinball`"),
    ],
)
def test_wrong_settings_are_refused(spec, task, said):
    with pytest.raises(ConfigError, match=said):
        build_metrics([spec], task, (0.1, 0.5) if task == "regression" else ())


def test_a_class_that_is_not_there_is_refused():
    (metric,) = build_metrics(["recall_4"], "classification")
    assert metric.width(5) == 3
    with pytest.raises(ConfigError, match="recall_0 to recall_3"):
        metric.width(4)


def test_less_is_better_of_errors_only():
    assert all(map(lower_is_better, ("loss", "mae", "mse", "rmse", "log_loss", "pinball", "pinball_90")))
    assert not any(map(lower_is_better, ("accuracy", "r2", "f1_macro", "recall_3", "top_3", "roc_auc")))


@pytest.mark.parametrize("rows", [3, 90, 900])
def test_curves_of_two_classes_are_scikit_learns(rows):
    calibration = pytest.importorskip("sklearn.calibration")
    outputs, targets, _ = drawn("operating_point", 1, rows)
    targets[:2] = 0, 1
    scored = Scored(2.0 * outputs, targets.astype(np.float64), np.ones(rows))
    made = curves_of(scored)
    shares, means = calibration.calibration_curve(targets, shares_of(2.0 * outputs)[:, 1], n_bins=10)
    np.testing.assert_allclose([mean for mean, _, _ in made.calibration], means, rtol=1e-12)
    np.testing.assert_allclose([share for _, share, _ in made.calibration], shares, rtol=1e-12, atol=1e-300)
    across, up = np.transpose(made.roc)
    assert len(across) <= 201
    assert (across[0], up[0], across[-1], up[-1]) == (0, 0, 1, 1)
    trapezoids = np.sum(np.diff(across) * (up[1:] + up[:-1]) / 2)
    assert trapezoids == pytest.approx(METRICS["roc_auc"].of_rows(scored), abs=0 if rows < 100 else 1e-3)
    assert curves_of(Scored(outputs, np.ones(rows), np.ones(rows))) is None


def test_a_threshold_that_was_chosen_replaces_the_choice():
    specs = ("accuracy", {"operating_point": 0.9}, "operating_point")
    fixed = {"operating_point": {"threshold": 0.25}}
    assert at_threshold(specs, 0.25) == ("accuracy", fixed, fixed)
    assert at_threshold(None, 0.25) is None
    assert at_threshold(specs, math.nan) == specs
