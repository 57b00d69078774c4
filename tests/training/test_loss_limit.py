"""Losses are counted in a row: a job that gets further between them goes on for ever."""

from hypothesis import given
from hypothesis import strategies as st

from distprop.training.loss_limit import LossLimit


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_a_job_that_gets_further_may_lose_as_often_as_it_likes(steps: list[int]) -> None:
    limit, version = LossLimit(most=2), 0
    for more in steps:
        version += more
        assert limit.allows_another(0, version)


@given(st.integers(0, 9), st.integers(0, 9))
def test_a_job_that_gets_no_further_is_given_up(most: int, version: int) -> None:
    limit = LossLimit(most=most)
    assert [limit.allows_another(0, version) for _ in range(most + 1)] == [True] * most + [False]


def test_a_later_checkpoint_is_progress_too() -> None:
    """Lost at 900, then twice while it makes up for what was lost: a checkpoint later each time."""
    limit = LossLimit(most=1)
    assert limit.allows_another(checkpoint=0, version=900)
    assert limit.allows_another(checkpoint=500, version=720)
    assert not limit.allows_another(checkpoint=500, version=730)
