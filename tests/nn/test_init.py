"""Laws of initial weights."""

import math

import numpy as np
import pytest

from distprop.nn.arrays import BLOCK
from distprop.nn.init import INITIALIZERS, Draw, fans

VARIANCES = {  # of 300 inputs and 200 outputs
    "he_normal": 2 / 300,
    "he_uniform": 2 / 300,
    "glorot_normal": 2 / 500,
    "glorot_uniform": 2 / 500,
    "lecun_normal": 1 / 300,
    "lecun_uniform": 1 / 300,
    "zeros": 0.0,
}


def filled(name: str, draw: Draw = Draw(1, 0, 0, False), dtype=np.float64) -> np.ndarray:  # noqa: B008 - frozen
    view = np.full((300, 200), np.nan, dtype)
    INITIALIZERS[name](view, draw)
    return view


def test_every_initializer_has_a_case():
    assert INITIALIZERS.keys() == VARIANCES.keys(), "a new initializer needs a line in VARIANCES"


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_and_variance_are_as_promised(name):
    view = filled(name)
    assert view.var() == pytest.approx(VARIANCES[name], rel=0.03)
    assert view.mean() == pytest.approx(0.0, abs=4 * math.sqrt(VARIANCES[name] / view.size))


@pytest.mark.parametrize("name", [name for name in VARIANCES if name.endswith("_normal")])
def test_normal_values_have_the_tails_of_the_normal_distribution(name):
    z = np.abs(filled(name)) / math.sqrt(VARIANCES[name])
    for limit in (1.0, 2.0, 3.0):
        assert np.mean(z > limit) == pytest.approx(math.erfc(limit / math.sqrt(2)), rel=0.15)


@pytest.mark.parametrize("name", [name for name in VARIANCES if name.endswith("_uniform")])
def test_uniform_values_keep_their_limits_and_fill_them(name):
    limit = math.sqrt(3 * VARIANCES[name])
    assert np.abs(filled(name)).max() == pytest.approx(limit, rel=0.001)
    assert np.abs(filled(name)).max() <= limit


@pytest.mark.parametrize("name", [name for name in VARIANCES if name != "zeros"])
def test_every_parameter_and_block_is_drawn_apart(name):
    draws = [Draw(1, 0, 0, False), Draw(2, 0, 0, False), Draw(1, 1, 0, False), Draw(1, 0, 1, False)]
    assert len({filled(name, draw).tobytes() for draw in draws}) == len(draws)
    flat = filled(name).ravel()
    assert flat[:BLOCK].tobytes() != flat[BLOCK : 2 * BLOCK].tobytes()


@pytest.mark.parametrize("name", VARIANCES)
def test_float32_weights_are_the_float64_ones_rounded(name):
    assert filled(name, dtype=np.float32).tobytes() == filled(name).astype(np.float32).tobytes()


def test_fans_of_a_convolution_count_its_field():
    assert fans((3, 3, 8, 16)) == (72, 144)
