"""Normalization has the same bits with the compiled loops and with NumPy alone; sums are as good as float64's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.loops import normalizing
from distprop.nn.batch_norm import batch_norm
from distprop.nn.layer import Context, Layer
from distprop.nn.normalize import group_norm, layer_norm, rms_norm
from distprop.nn.workspace import Workspace
from tests.nn.bits import drawn, with_and_without

needs_loops = pytest.mark.skipif(normalizing._normalizing is None, reason="the loops were not compiled: no C compiler")
CHANNELS = st.one_of(st.integers(1, 40), st.sampled_from([64, 300, 20_000]))
ROWS = st.one_of(st.tuples(st.integers(1, 9)), st.tuples(st.integers(1, 80), st.integers(1, 3)))
PLACES = st.sampled_from([(), (1, 1), (2, 3), (7, 5), (40, 50)])
ODD = st.sampled_from([0.0, 0.01])
LAYERS = st.sampled_from([layer_norm(), layer_norm(0.1), rms_norm()])


def require_numpys_bits(layer: Layer, x: np.ndarray, seed: int, odd: float, **context: bool) -> None:
    compiled, plain = with_and_without((normalizing, "_normalizing"), layer, x, seed, odd, **context)
    assert compiled == plain


@needs_loops
@given(layer=LAYERS, rows=ROWS, channels=CHANNELS, seed=st.integers(0, 99), odd=ODD)
@settings(deadline=None)
@pytest.mark.parametrize("overwrites", [False, True])
def test_rows_have_numpys_bits(
    layer: Layer, rows: tuple[int, ...], channels: int, seed: int, odd: float, overwrites: bool
) -> None:
    x = drawn((*rows, channels), seed, odd)
    require_numpys_bits(layer, x, seed, odd, may_overwrite_input=overwrites)


@needs_loops
@given(
    groups=st.integers(1, 5),
    channels=st.integers(1, 9),
    places=PLACES,
    rows=st.integers(1, 5),
    seed=st.integers(0, 99),
    odd=ODD,
)
@settings(deadline=None)
def test_groups_have_numpys_bits(
    groups: int, channels: int, places: tuple[int, ...], rows: int, seed: int, odd: float
) -> None:
    x = drawn((rows, *places, groups * channels), seed, odd)
    require_numpys_bits(group_norm(groups), x, seed, odd)


@needs_loops
@pytest.mark.parametrize("training", [True, False])
@given(
    channels=st.one_of(st.integers(1, 40), st.just(600)),
    places=PLACES,
    rows=st.integers(1, 5),
    seed=st.integers(0, 99),
    odd=ODD,
)
@settings(deadline=None)
def test_channels_have_numpys_bits(
    training: bool, channels: int, places: tuple[int, ...], rows: int, seed: int, odd: float
) -> None:
    x = drawn((rows, *places, channels), seed, odd)
    require_numpys_bits(batch_norm(), x, seed, odd, training=training)


@pytest.mark.parametrize("layer", [layer_norm(), rms_norm(), group_norm(2), batch_norm()])
def test_a_gradient_that_does_not_lie_in_one_run_is_as_good(layer: Layer) -> None:
    x, dy = drawn((4, 2, 3, 8), 0, 0.0), drawn((4, 2, 3, 8), 1, 0.0)
    _, shapes = layer.shapes(x.shape[1:])
    found = []
    for given_ in (dy.copy(), np.ascontiguousarray(dy.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)):
        p, g = ({name: np.ones(shape, np.float32) for name, shape in shapes.items()} for _ in range(2))
        _, backward = layer.forward(p, x, Context(Workspace(), 0, np.dtype(np.float32)))
        dx = backward(given_, g)
        assert dx is not None
        found.append([dx.tobytes(), *(one.tobytes() for one in g.values())])
    assert found[0] == found[1]


def test_a_large_mean_costs_no_digits_of_the_variance() -> None:
    """Sums of float32 in float32 would be wrong by parts of a thousand there."""
    x = drawn((3, 50_000), 0, 0.0) + np.float32(1000.0)
    p = {"scale": np.ones(50_000, np.float32), "shift": np.zeros(50_000, np.float32)}
    y, _ = layer_norm(1e-12).forward(p, x, Context(Workspace(), 0, np.dtype(np.float32)))
    exact = x.astype(np.float64)
    expected = (exact - exact.mean(axis=1, keepdims=True)) / exact.std(axis=1, keepdims=True)
    np.testing.assert_allclose(y, expected, atol=2e-4)


@needs_loops
@pytest.mark.parametrize("form", [(2, 4, 3), (3, 3, 1), (2, 3, 2), (-2, -3, 1), (2, 3, 0)])
def test_shapes_that_do_not_fit_are_refused(form: tuple[int, int, int]) -> None:
    rows, one, scale, sums = np.zeros((2, 3), "f"), np.zeros(2, "f"), np.zeros((1, 3), "f"), np.zeros((2, 1, 3))
    loops = normalizing._normalizing
    with pytest.raises(ValueError, match="fit together"):
        loops.normalize(rows, rows.copy(), one, rows.copy(), scale, scale, 1e-5, form)
    with pytest.raises(ValueError, match="fit together"):
        loops.denormalize(rows, rows.copy(), one, scale, sums, True, form)


@needs_loops
@pytest.mark.parametrize("short", range(6))
def test_arrays_that_are_too_short_are_refused(short: int) -> None:
    rows, one, scale = np.zeros((2, 3), "f"), np.zeros(2, "f"), np.zeros((1, 3), "f")
    arrays = [rows, rows.copy(), one, rows.copy(), scale, scale.copy()]
    arrays[short] = arrays[short].reshape(-1)[1:]
    with pytest.raises(ValueError, match="fit together"):
        normalizing._normalizing.normalize(*arrays, 1e-5, (2, 3, 1))


@needs_loops
@pytest.mark.parametrize("short", range(5))
def test_sums_and_gradients_that_are_too_short_are_refused(short: int) -> None:
    rows, one, scale, sums = np.zeros((2, 3), "f"), np.zeros(2, "f"), np.zeros((1, 3), "f"), np.zeros((2, 1, 3))
    arrays = [rows, rows.copy(), one, scale, sums]
    arrays[short] = arrays[short].reshape(-1)[1:]
    with pytest.raises(ValueError, match="fit together"):
        normalizing._normalizing.denormalize(*arrays, True, (2, 3, 1))


@needs_loops
@pytest.mark.parametrize(
    ("values", "others", "off", "sums", "form"),
    [
        (5, 6, 3, 6, (2, 3, 2)),
        (6, 5, 3, 6, (2, 3, 2)),
        (6, 6, 2, 6, (2, 3, 2)),
        (6, 6, 3, 6, (2, 3, 1)),
        (6, 6, 3, 6, (2, 3, 0)),
        (6, 6, 3, 6, (-2, -3, 1)),
    ],
)
def test_sums_of_channels_that_do_not_fit_are_refused(
    values: int, others: int, off: int, sums: int, form: tuple[int, int, int]
) -> None:
    arrays = [np.zeros(size, "f") for size in (values, others, off, sums)]
    with pytest.raises(ValueError, match="fit together"):
        normalizing._normalizing.sum_channels(*arrays, form)


@needs_loops
@pytest.mark.parametrize("short", range(6))
def test_channels_that_do_not_fit_are_refused(short: int) -> None:
    sizes = [6, 3, 6, 3, 3, 6]
    sizes[short] -= 1
    with pytest.raises(ValueError, match="fit together"):
        normalizing._normalizing.mix_channels(*(np.zeros(size, "f") for size in sizes), (2, 3))
