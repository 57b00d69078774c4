"""Laws of norms and clipping."""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.optim.norms import block_square_sums, clip_scale, global_norm


class Span(NamedTuple):
    start: int
    stop: int


def vector(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 16_384), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_the_norm_is_that_of_the_whole_vector(sizes, seed):
    borders = np.cumsum([0, *sizes]).tolist()
    g = vector(borders[-1], seed)
    sums = block_square_sums(g, [Span(*pair) for pair in pairwise(borders)])
    assert sums.dtype == np.float64
    exact = math.sqrt(math.fsum(float(value) ** 2 for value in g))
    assert global_norm(sums) == pytest.approx(exact, rel=1e-6)


def test_a_blocks_sum_does_not_depend_on_where_its_slice_begins():
    g = vector(50_000)
    whole = block_square_sums(g, [Span(0, 16_384), Span(16_384, 32_000), Span(32_000, 50_000 - 1)])
    part = block_square_sums(g[16_384:].copy(), [Span(0, 32_000 - 16_384), Span(32_000 - 16_384, 33_615)])
    assert whole[1:].tobytes() == part.tobytes()


def test_small_values_do_not_vanish_and_large_ones_do_not_overflow():
    assert global_norm(block_square_sums(np.full(4, 1e-30, np.float32), [Span(0, 4)])) == pytest.approx(2e-30)
    assert global_norm(block_square_sums(np.full(4, 1e30, np.float32), [Span(0, 4)])) == pytest.approx(2e30)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_so_and_is_not_clipped_away(bad):
    g = np.array([1.0, bad], np.float32)
    norm = global_norm(block_square_sums(g, [Span(0, 1), Span(1, 2)]))
    assert not math.isfinite(norm)
    assert clip_scale(norm, 1.0) == 1.0


def test_clipping_makes_long_gradients_as_long_as_allowed_and_leaves_short_ones():
    assert clip_scale(4.0, 1.0) == 0.25
    assert clip_scale(1.0, 1.0) == clip_scale(0.0, 1.0) == clip_scale(9.0, None) == 1.0


def test_no_blocks_have_no_length():
    assert global_norm(block_square_sums(vector(3), [])) == 0.0
