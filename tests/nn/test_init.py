"""Laws of initial weights."""

import math

import numpy as np
import pytest

from distprop.errors import ConfigError
from distprop.nn.arrays import BLOCK
from distprop.nn.init import INITIALIZERS, WITH_SETTINGS, Draw, fans, find_initializer
from distprop.nn.network import build_network

VARIANCES = {  # of 300 inputs and 200 outputs
    "he_normal": 2 / 300,
    "he_uniform": 2 / 300,
    "glorot_normal": 2 / 500,
    "glorot_uniform": 2 / 500,
    "lecun_normal": 1 / 300,
    "lecun_uniform": 1 / 300,
    "zeros": 0.0,
}
SETTINGS = {  # and the variance that they promise
    "orthogonal": ({"gain": 2.0}, 4 / 300),
    "normal": ({"stddev": 0.02}, 0.02**2),
    "uniform": ({"limit": 0.3}, 0.3**2 / 3),
    "constant": ({"value": 0.25}, 0.0),
}
RANDOM = [name for name in VARIANCES if name != "zeros"] + [{key: SETTINGS[key][0]} for key in list(SETTINGS)[:3]]


def filled(spec, draw: Draw = Draw(1, 0, 0, False), dtype=np.float64, shape=(300, 200)) -> np.ndarray:  # noqa: B008 - frozen
    view = np.full(shape, np.nan, dtype)
    find_initializer(spec)(view, draw)
    return view


def test_every_initializer_has_a_case():
    assert INITIALIZERS.keys() == VARIANCES.keys(), "a new initializer needs a line in VARIANCES"
    assert WITH_SETTINGS.keys() == SETTINGS.keys(), "a new initializer needs a line in SETTINGS"


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


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_say_how_large_values_are(name):
    settings, variance = SETTINGS[name]
    view = filled({name: settings})
    assert view.var() == pytest.approx(variance, rel=0.03)
    mean = 0.25 if name == "constant" else 0.0
    assert view.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / view.size))


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (3, 3, 5, 16), (1, 7), (7, 1)])
def test_orthogonal_columns_or_rows_are_orthonormal_times_the_gain(shape):
    w = filled({"orthogonal": 3.0}, shape=shape).reshape(-1, shape[-1])
    product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(product, 9.0 * np.eye(min(w.shape)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_uniformly():
    """Without the signs of R's diagonal, QR would favour one side: a first entry of a known sign."""
    drawn = np.array([filled("orthogonal", Draw(seed, 0, 0, False), shape=(3, 3)) for seed in range(300)])
    assert np.abs(drawn.mean(axis=0)).max() < 4 / math.sqrt(3 * 300)


@pytest.mark.parametrize(
    "spec", [{"normal": 0.02}, "orthogonal", {"constant": {"value": 0.5}}, "lecun_uniform"], ids=str
)
def test_layers_take_initializers_by_name_or_with_settings(spec):
    network = build_network(
        [{"conv2d": {"channels": 4, "init": spec}}, "flatten", {"dense": {"width": 5, "init": spec}}],
        (6, 6, 2),
    )
    weights = np.empty(network.arena.size, np.float32)
    network.init(3, weights)
    for number, (name, view) in enumerate(network.arena.views(weights).items()):
        assert np.all(view == 0.0) if name.endswith(".b") else np.any(view != 0.0), (number, name)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("he_norml", "did you mean `he_normal`"),
        ("normal", "initializer normal lacks its stddev"),
        ({"normal": {"std": 1}}, "did you mean `stddev`"),
        ({"normal": -1}, "`normal.stddev` is -1"),
        ({"constant": "much"}, "`constant.value` is 'much'"),
        ({"he_normal": {"gain": 2}}, "he_normal has no settings"),
        ({"normal": 1, "uniform": 1}, "one name"),
    ],
    ids=str,
)
def test_a_wrong_initializer_is_told_apart(spec, said):
    with pytest.raises(ConfigError) as caught:
        find_initializer(spec)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", RANDOM, ids=str)
def test_every_parameter_and_block_is_drawn_apart(name):
    draws = [Draw(1, 0, 0, False), Draw(2, 0, 0, False), Draw(1, 1, 0, False), Draw(1, 0, 1, False)]
    assert len({filled(name, draw).tobytes() for draw in draws}) == len(draws)
    flat = filled(name).ravel()
    assert flat[:BLOCK].tobytes() != flat[BLOCK : 2 * BLOCK].tobytes()


@pytest.mark.parametrize("name", [*VARIANCES, *RANDOM[-3:]], ids=str)
def test_float32_weights_are_the_float64_ones_rounded(name):
    assert filled(name, dtype=np.float32).tobytes() == filled(name).astype(np.float32).tobytes()


def test_fans_of_a_convolution_count_its_field():
    assert fans((3, 3, 8, 16)) == (72, 144)
