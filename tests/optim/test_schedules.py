"""Laws of schedules."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.optim.schedules import SCHEDULES, build_schedule

CASES = {
    "constant": 0.1,
    "step": {"value": 1.0, "factor": 0.5, "every": 3},
    "exponential": {"value": 1.0, "factor": 0.9},
    "linear": {"peak": 1.0, "end": 0.2},
    "polynomial": {"peak": 1.0, "power": 2, "end": 0.2},
    "cosine": {"peak": 1.0},
    "cosine_restarts": {"peak": 1.0, "period": 4, "factor": 2, "end": 0.1},
    "one_cycle": {"peak": 1.0},
    "warmup_constant": {"peak": 1.0, "warmup_steps": 4},
    "warmup_linear": {"peak": 1.0, "warmup_steps": 4},
    "warmup_cosine": {"peak": 1.0, "warmup_steps": 4, "end": 0.1},
    "reduce_on_plateau": {"start": 1.0, "factor": 0.5, "patience": 2, "min": 0.1},
}


def rates(spec, steps, total_steps=10):
    schedule = build_schedule(spec, total_steps)
    return [schedule(step) for step in steps]


def test_every_schedule_has_a_case():
    assert SCHEDULES.keys() == CASES.keys(), "a new schedule needs a line in CASES"


@pytest.mark.parametrize("name", CASES)
@given(steps=st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_a_rate_depends_on_the_step_alone(name, steps):
    forwards = rates({name: CASES[name]}, steps)
    assert rates({name: CASES[name]}, steps[::-1])[::-1] == forwards
    assert all(isinstance(rate, float) and 0.0 <= rate <= 1.0 for rate in forwards)


def test_a_number_is_a_constant_rate():
    assert rates(0.25, (0, 99)) == rates({"constant": 0.25}, (0, 99)) == [0.25, 0.25]


def test_step_multiplies_every_so_often_or_at_boundaries():
    assert rates({"step": CASES["step"]}, (0, 2, 3, 6)) == [1.0, 1.0, 0.5, 0.25]
    assert rates({"step": {"value": 1.0, "factor": 0.5, "boundaries": [2, 5]}}, (1, 2, 4, 5)) == [1.0, 0.5, 0.5, 0.25]


def test_exponential_is_its_formula():
    assert rates({"exponential": {"value": 2.0, "factor": 0.5, "every": 4}}, (0, 4, 6)) == [
        2.0,
        1.0,
        0.5 * math.sqrt(2),
    ]


@pytest.mark.parametrize("name", ["warmup_constant", "warmup_linear", "warmup_cosine"])
def test_warmup_rises_in_equal_steps_to_the_peak(name):
    assert rates({name: CASES[name]}, range(5)) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_decays_reach_their_end_with_the_jobs_last_step_and_stay_there():
    assert rates({"linear": CASES["linear"]}, (0, 5, 10, 99)) == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert rates({"cosine": 1.0}, (0, 5, 10, 99)) == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert rates({"warmup_cosine": CASES["warmup_cosine"]}, (7, 10, 99)) == pytest.approx([0.55, 0.1, 0.1])
    assert rates({"warmup_linear": CASES["warmup_linear"]}, (7, 10)) == pytest.approx([0.5, 0.0])


def test_polynomial_is_its_formula():
    assert rates({"polynomial": CASES["polynomial"]}, (0, 5, 10, 99)) == pytest.approx([1.0, 0.4, 0.2, 0.2])


def test_cosines_restart_and_grow_longer():
    assert rates({"cosine_restarts": CASES["cosine_restarts"]}, (0, 2, 4, 8, 12, 20)) == pytest.approx(
        [1.0, 0.55, 1.0, 0.55, 1.0, 0.55]
    )
    again = rates({"cosine_restarts": {"peak": 1.0, "period": 3}}, range(9))
    assert again[:3] == again[3:6] == again[6:]
    assert again[:3] == pytest.approx([1.0, 0.75, 0.25])


def test_one_cycle_rises_and_falls():
    found = rates({"one_cycle": {"peak": 1.0, "rise": 0.5, "start_factor": 10, "end_factor": 100}}, (0, 2, 4, 7, 9, 99))
    half_way_down = 0.001 + 0.999 * (1 + math.cos(math.pi * 0.6)) / 2
    assert found == pytest.approx([0.1, 0.55, 1.0, half_way_down, 0.001, 0.001])


@pytest.mark.parametrize("total_steps", [1, 2, 3])
def test_one_cycle_of_few_steps_stays_within_its_bounds(total_steps):
    found = rates({"one_cycle": 1.0}, range(5), total_steps)
    assert all(0.0 < rate <= 1.0 for rate in found)


@pytest.mark.parametrize("name", CASES)
@given(step=st.integers(0, 20), warmup=st.integers(1, 12))
def test_any_schedule_may_be_warmed_up(name, step, warmup):
    plain, warmed = (rates(spec, [step]) for spec in ({name: CASES[name]}, {name: CASES[name], "warmup_steps": warmup}))
    assert warmed[0] == pytest.approx(plain[0] * min(1.0, (step + 1) / warmup), rel=1e-15)


def test_total_steps_may_be_set():
    assert rates({"cosine": {"peak": 1.0, "total_steps": 4}}, (2, 4)) == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"cosin": 1.0}, "did you mean `cosine`"),
        ({"cosine": {"peek": 1.0}}, "did you mean `peak`"),
        ({"warmup_cosine": {"peak": 1.0}}, "lacks its warmup_steps"),
        ({"warmup_cosine": {"peak": 1.0, "warmup_steps": 1.5}}, "`warmup_steps` is 1.5"),
        ({"step": {"value": 1.0}}, "neither or both"),
        ({"step": {"value": 1.0, "every": 0}}, "`step.every` is 0"),
        ({"constant": -0.1}, "at least 0"),
        ({"cosine_restarts": {"peak": 1.0, "period": 0}}, "`cosine_restarts.period` is 0"),
        ({"one_cycle": {"peak": 1.0, "rise": 1.0}}, "`one_cycle.rise` is 1.0"),
        ({"polynomial": {"peak": 1.0, "power": -1}}, "`polynomial.power` is -1"),
        ({"cosine": 1.0, "linear": 1.0}, "one name"),
        (float("nan"), "is nan"),
        ("fast", "is 'fast'"),
        ({"cosine": 1.0, "warmup_steps": 0}, "`warmup_steps` is 0"),
        ({"warmup_steps": 3}, "one name"),
        ({"reduce_on_plateau": {"start": 0}}, "`reduce_on_plateau.start` is 0"),
        ({"reduce_on_plateau": {"start": 1, "factor": 1}}, "`reduce_on_plateau.factor` is 1"),
        ({"reduce_on_plateau": {"start": 1, "patience": 0}}, "`reduce_on_plateau.patience` is 0"),
        ({"reduce_on_plateau": {"start": 1, "min": 2}}, "`reduce_on_plateau.min` is 2"),
        ({"reduce_on_plateau": {"start": 1, "metric": "loss"}}, "`reduce_on_plateau.metric` is 'loss'"),
        ({"reduce_on_plateau": {"start": 1, "patients": 2}}, "did you mean `patience`"),
    ],
)
def test_a_wrong_spec_is_told_apart(spec, said):
    with pytest.raises(ConfigError) as caught:
        build_schedule(spec, 10)
    assert said in str(caught.value)
