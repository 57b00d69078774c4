"""Verdicts follow from metrics alone: the rate that a plateau leaves is that of Keras' callback."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.optim.schedules import reduce_on_plateau
from distprop.runtime.judge import Criteria, Opinion, best_version, first_unmeasured, judge


def rates(values, metric="valid/loss", **settings_):
    """The rate in force after each evaluation."""
    plateau = reduce_on_plateau(start=1.0, metric=metric, **settings_)
    history, found, rate = [], [], plateau.start
    for version, value in enumerate(values):
        history.append(judge(Criteria(plateau=plateau), history, version, {metric: value}))
        rate *= history[-1].factor
        found.append(rate)
    return found


def keras(values, factor, patience, min_, min_delta):
    """keras.callbacks.ReduceLROnPlateau.on_epoch_end, mode min."""
    best, wait, rate, found = math.inf, 0, 1.0, []
    for value in values:
        if value < best - min_delta:
            best, wait = value, 0
        else:
            wait += 1
            if wait >= patience and rate > min_:
                rate, wait = max(rate * factor, min_), 0
        found.append(rate)
    return found


@given(
    values=st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5, math.nan]), max_size=14),
    factor=st.sampled_from([0.5, 0.25]),
    patience=st.integers(1, 3),
    min_=st.sampled_from([0.0, 0.125, 0.3]),
    min_delta=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=60, deadline=None)
def test_rates_are_those_of_keras(values, factor, patience, min_, min_delta):
    found = rates(values, factor=factor, patience=patience, min=min_, min_delta=min_delta)
    assert found == pytest.approx(keras(values, factor, patience, min_, min_delta), rel=1e-12)


def test_more_is_better_for_metrics_that_are_no_errors():
    assert rates([0.5, 0.6, 0.7], "valid/accuracy", patience=1) == [1.0, 1.0, 1.0]
    assert rates([0.5, 0.6, 0.7], "valid/loss", patience=1, factor=0.5) == [1.0, 0.5, 0.25]


def test_a_judge_begins_again_where_another_left_off():
    """What is known of the past is in the history: there is no other state to be lost."""
    values = [2.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    plateau = reduce_on_plateau(start=1.0, patience=2, factor=0.5)
    criteria = Criteria(plateau=plateau)
    history = []
    for version, value in enumerate(values):
        again = [Opinion(**opinion.plain()) for opinion in history]
        history = [*again, judge(criteria, again, version, {"valid/loss": value})]
    assert [opinion.factor for opinion in history] == [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.5, 1.0]


@given(values=st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), max_size=14), patience=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_torch_waits_for_one_evaluation_more(values, patience):
    torch = pytest.importorskip("torch", reason="torch is the reference here, and not installed")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0.0, min_lr=0.125
    )
    theirs = []
    for value in values:
        scheduler.step(value)
        theirs.append(optimizer.param_groups[0]["lr"])
    assert rates(values, factor=0.5, patience=patience, min=0.125) == theirs


SCORES = st.lists(st.sampled_from([0.1, 0.5, 0.9, math.nan, math.inf, -math.inf]), min_size=1, max_size=9)


def judged(criteria, values):
    history = []
    for version, value in enumerate(values):
        history.append(judge(criteria, history, version, {"valid/roc_auc": value}))
    return history


@given(SCORES)
@settings(deadline=None)
def test_nan_is_never_the_best(values):
    kept = best_version(Criteria(keep_best="valid/roc_auc"), judged(Criteria(keep_best="valid/roc_auc"), values))
    numbers = [value for value in values if not math.isnan(value)]
    assert kept == (values.index(max(numbers)) if numbers else None)


@given(SCORES, st.integers(1, 3))
@settings(deadline=None)
def test_nan_counts_as_no_better_when_it_is_asked_whether_to_stop(values, patience):
    criteria = Criteria(stop_metric="valid/roc_auc", patience=patience)
    worst = [-math.inf if math.isnan(value) else value for value in values]
    assert [one.stop for one in judged(criteria, values)] == [one.stop for one in judged(criteria, worst)]


def test_a_metric_that_is_nan_is_told_of_once():
    criteria = Criteria(keep_best="valid/a", stop_metric="valid/b", patience=9)
    history, told = [], []
    for version, (a, b) in enumerate([(0.5, 0.5), (math.nan, 0.5), (0.5, math.nan), (math.nan, math.nan)]):
        found = {"valid/a": a, "valid/b": b}
        told.append(first_unmeasured(criteria, history, found))
        history.append(Opinion(version, found))
    assert told == [(), ("valid/a",), ("valid/b",), ()]
