import math

import pytest

from distprop.tracking import curves
from distprop.tracking.curves import Curves, Timings, window
from tests.tracking.events import step


def points(every, versions, **changes):
    gathered = Curves(every)
    records = [record for version in versions for record in gathered.add(step(version, **changes))]
    return [(record["step"], record["metrics"]["train/loss"]) for record in records + gathered.flush()]


def test_a_job_of_usual_length_keeps_every_step():
    assert window(curves.CURVE_POINTS) == 1
    assert points(1, range(1, 5)) == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]


@pytest.mark.parametrize("steps", [1, 9_999, 10_001, 123_456])
def test_a_curve_has_a_bounded_number_of_points(steps):
    assert math.ceil(steps / window(steps)) <= curves.CURVE_POINTS


def test_a_long_job_has_the_mean_of_each_window_and_of_what_is_left():
    assert points(3, range(1, 8)) == [
        (3, pytest.approx((1 + 1 / 2 + 1 / 3) / 3)),
        (6, pytest.approx((1 / 4 + 1 / 5 + 1 / 6) / 3)),
        (7, 1 / 7),
    ]


def test_windows_of_a_resumed_job_are_those_of_the_whole_one():
    whole, resumed = points(3, range(1, 13)), points(3, range(7, 13))
    assert resumed == whole[2:]


def test_a_step_that_is_not_finite_shows_in_its_window():
    (point,) = points(2, [2], metrics={"train/loss": math.nan})
    assert math.isnan(point[1])


def test_timings_are_means_over_a_second():
    timings = Timings()
    records = [record for version in range(1, 6) for record in timings.add(step(version))]
    assert [record["step"] for record in records] == [2, 4]
    assert records[0]["metrics"] == {"step_seconds": 0.5, "waiting_seconds": 0.1, "rows_per_second": 50.0}
    assert [record["step"] for record in timings.flush()] == [5]
    assert timings.flush() == []
