"""Samples, medians, spreads and gaps of losses."""

import math

import pytest

from benchmarks.figures import gap, median, samples, spread


def test_a_sample_is_the_mean_of_successive_steps_in_milliseconds() -> None:
    times = [0.0, 1.0, 3.0, 6.0, 10.0, 15.0, 21.0]
    assert samples(times, 2, warm=2) == [3500.0, 5500.0]


def test_the_first_steps_are_not_counted() -> None:
    slow_start = [0.0, 9.0, 18.0, 18.001, 18.002, 18.003]
    assert samples(slow_start, 1) == pytest.approx([1.0, 1.0, 1.0])


def test_samples_in_groups_and_one_by_one_have_the_same_sum() -> None:
    times = [0.01 * step * step for step in range(41)]
    assert sum(samples(times, 1, warm=0)) == pytest.approx(5 * sum(samples(times, 5, warm=0)))


def test_too_short_a_block_has_no_samples_and_no_median() -> None:
    assert samples([0.0, 1.0], 4) == []
    assert math.isnan(median([]))


def test_the_spread_is_half_the_quartiles_distance_over_the_median() -> None:
    assert spread([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.1)
    assert math.isnan(spread([1.0]))


def test_one_outlier_moves_neither_median_nor_spread_much() -> None:
    assert median([1.0] * 20 + [100.0]) == 1.0
    assert spread([1.0] * 20 + [100.0]) == 0.0


def test_a_gap_is_the_largest_relative_difference() -> None:
    assert gap([2.0, 1.0], [2.0, 0.9]) == pytest.approx(0.1)
    assert gap([1.0, 2.0], [1.0, 2.0]) == 0.0


def test_series_of_different_length_have_no_gap() -> None:
    with pytest.raises(ValueError, match="shorter"):
        gap([1.0, 2.0], [1.0])
