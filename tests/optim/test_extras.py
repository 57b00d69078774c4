"""Laws of what a config may have beside an optimizer: groups, accumulation, averages, values clipped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.loops.playing import play
from distprop.loops.tape import Tape
from distprop.optim.groups import PLAIN, Group, group_views
from distprop.optim.optimizer import finite_ratio
from distprop.optim.optimizers import OPTIMIZERS, Extras, build_optimizer
from tests.optim.test_optimizers import drawn, run

VIEWS = ("0.dense.W", "0.dense.b", "1.layer_norm.scale", "2.dense.W", "2.dense.b")
NAMES = pytest.mark.parametrize("name", OPTIMIZERS)


def made(name="adamw", settings_=None, **extras):
    return build_optimizer(name, {"learning_rate": 0.05, **(settings_ or {})}, Extras(**extras), 100)


def test_patterns_name_views_and_factors_are_multiplied():
    groups = group_views(VIEWS, {"0.*": 0.5, "*.W": 0.1, "2.dense.b": 0}, ["*.b", "*norm*"])
    assert groups == (Group(0.05, 1.0), Group(0.5, 0.0), Group(1.0, 0.0), Group(0.1, 1.0), Group(0.0, 0.0))
    assert [group.frozen for group in groups] == [False, False, False, False, True]
    assert group_views(VIEWS, {}, ()) == (PLAIN,) * 5


@given(st.permutations([("*", 0.3), ("0.*", 0.7), ("*.W", 1.1), ("*dense*", 0.9)]))
@settings(max_examples=10)
def test_the_order_of_patterns_does_not_count(pairs):
    """Not even in the last bit: recipes that differ in the order of keys are the same."""
    assert group_views(VIEWS, dict(pairs), ()) == group_views(VIEWS, dict(sorted(pairs)), ())


@pytest.mark.parametrize(
    ("rates", "exclude", "said"),
    [
        ({"0.dens.W": 1}, (), "did you mean `0.dense.W`"),
        ({}, ("*.bias",), "`optimizer.decay_exclude` has '*.bias', which is no parameter's name"),
        ({"9.*": 1}, (), "there are: 0.dense.W, 0.dense.b"),
        ({"*": 0}, (), "freezes every parameter"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_with_a_guess(rates, exclude, said):
    with pytest.raises(ConfigError) as caught:
        group_views(VIEWS, rates, exclude)
    assert said in str(caught.value)


@NAMES
@given(steps=st.integers(1, 4), updates=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_accumulating_is_one_update_by_the_mean_of_the_gradients(name, steps, updates, seed):
    w, gradients = drawn(30, steps * updates, np.float64, seed)
    means = [np.mean(gradients[i : i + steps], axis=0) for i in range(0, len(gradients), steps)]
    found, expected = run(made(name, accumulate=steps), w, gradients), run(made(name), w, means)
    found = [found[0], *found[2:]] if steps > 1 else found  # without the sum, which is 0 again
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


@NAMES
def test_between_updates_weights_and_state_keep_their_bits(name):
    w, gradients = drawn(30, 5)
    optimizer = made(name, accumulate=3, average=0.9)
    third, fifth = run(optimizer, w, gradients[:3]), run(optimizer, w, gradients)
    names = ("weights", *optimizer.state_names)
    for key, one, other in zip(names, third, fifth, strict=True):
        assert (one.tobytes() == other.tobytes()) is (key != "accumulated"), key


def test_schedules_count_steps_and_adam_counts_changes_of_the_weights():
    optimizer = build_optimizer("adam", {"learning_rate": {"linear": {"peak": 1.0}}}, Extras(accumulate=4), 16)
    ats = [optimizer.at(version) for version in range(8)]
    assert [at.step for at in ats] == [0] * 4 + [1] * 4
    assert [at.holds for at in ats] == [True, True, True, False] * 2
    assert [at.rate for at in ats] == pytest.approx([1 - version / 16 for version in range(8)])


@NAMES
@given(decay=st.floats(0.0, 0.999), accumulate=st.integers(1, 3))
@settings(max_examples=5, deadline=None)
def test_the_average_is_its_formula_and_changes_nothing_else(name, decay, accumulate):
    w, gradients = drawn(20, 6, np.float64)
    after = [
        run(made(name, accumulate=accumulate), w, gradients[:step])[0] for step in range(accumulate, 7, accumulate)
    ]
    average = np.average(after, axis=0, weights=[decay**age for age in range(len(after))][::-1])
    found = run(made(name, average=decay, accumulate=accumulate), w, gradients)
    np.testing.assert_allclose(found[-1], average, rtol=1e-12)
    plain = run(made(name, accumulate=accumulate), w, gradients)
    assert [vector.tobytes() for vector in found[:-1]] == [vector.tobytes() for vector in plain]


def test_before_the_first_update_the_average_is_the_first_weights():
    w, gradients = drawn(20, 2)
    assert run(made(average=0.9, accumulate=3), w, gradients)[-1].tobytes() == w.tobytes()


@NAMES
def test_clipped_values_are_those_of_a_gradient_that_was_clipped_before(name):
    w, gradients = drawn(50, 3)
    clipped = [np.clip(g, np.float32(-0.3), np.float32(0.3)) for g in gradients]
    assert not np.array_equal(clipped[0], gradients[0])
    found, expected = run(made(name, clip_value=0.3), w, gradients), run(made(name), w, clipped)
    assert [vector.tobytes() for vector in found] == [vector.tobytes() for vector in expected]


def test_a_clipped_nan_stays_nan():
    w = np.ones(3)
    found = run(made("sgd", clip_value=1.0), w, [np.array([np.nan, np.inf, -np.inf])])[0]
    np.testing.assert_array_equal(found, [np.nan, 0.95, 1.05])


@pytest.mark.parametrize("name", ["adamw", "lion", "sgd"])
def test_a_group_without_decay_is_an_optimizer_without_decay(name):
    w, (g,) = drawn(30, 1)
    decaying, bare = (made(name, {"weight_decay": decay}) for decay in (0.3, 0.0))
    outs = []
    for optimizer, group in ((decaying, Group(decay=0.0)), (bare, PLAIN), (decaying, PLAIN)):
        old, new = ({key: np.zeros_like(w) for key in optimizer.state_names} for _ in range(2))
        out = np.empty_like(w)
        optimizer.update(w, g.copy(), old, out, new, optimizer.at(0, 1.0, group))
        outs.append(out.tobytes())
    assert outs[0] == outs[1] != outs[2]


def test_freezing_keeps_weights_and_state():
    w, (g,) = drawn(30, 1)
    optimizer = made("adam", average=0.9)
    old, new = ({key: np.zeros_like(w) for key in optimizer.state_names} for _ in range(2))
    out = np.empty_like(w)
    tape = Tape(optimizer.made)
    optimizer.record_freeze(tape)
    play(tape, (g, w, out, *(pair[name] for name in optimizer.state_names for pair in (old, new))))
    assert out.tobytes() == new["average"].tobytes() == w.tobytes()
    assert not new["gradients"].any() and not new["squares"].any()


def test_the_rate_has_the_factors_of_verdicts_and_groups():
    optimizer = made("sgd")
    assert optimizer.at(3, 0.5, Group(rate=0.1)).rate == pytest.approx(0.05 * 0.5 * 0.1)
    assert optimizer.at(3)._replace(rate=0.0) == optimizer.at(3, 0.5)._replace(rate=0.0)


def test_a_layer_without_direction_or_weights_has_the_plain_rate():
    assert finite_ratio(2.0, 4.0) == 0.5
    odd = [(0.0, 1.0), (1.0, 0.0), (float("inf"), 1.0), (1.0, float("nan"))]
    assert [finite_ratio(*pair) for pair in odd] == [1.0] * 4
    trust = made("lars", {"coefficient": 0.1}).trust
    assert trust is not None
    assert [trust(0.0, 1.0), trust(1.0, 0.0)] == [1.0, 1.0]
    assert trust(2.0, 4.0) == pytest.approx(0.1 * 4 / (2 + 1e-4 * 4))
