"""Pools and convolutions have the same bits with the compiled loops and with NumPy alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.loops import images
from distprop.nn.conv import conv2d
from distprop.nn.layer import Context, Layer
from distprop.nn.pool import max_pool2d
from distprop.nn.workspace import Workspace
from tests.nn.bits import drawn, with_and_without

pytestmark = pytest.mark.skipif(images._images is None, reason="the loops were not compiled: no C compiler")
SHAPES = st.tuples(st.integers(1, 3), st.integers(3, 9), st.integers(3, 9), st.sampled_from([1, 3, 5, 8, 11, 16]))
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)


def both(layer: Layer, x: np.ndarray, seed: int) -> tuple[list[bytes], list[bytes]]:
    return with_and_without((images, "_images"), layer, x, seed)


@given(shape=SHAPES, size=PAIR, seed=st.integers(0, 99), odd=st.sampled_from([0.0, 0.4]))
@settings(deadline=None)
def test_the_largest_value_and_its_share_have_numpys_bits(shape, size, seed, odd):
    compiled, plain = both(max_pool2d(size), drawn(shape, seed, odd), seed)
    assert compiled == plain


@given(
    shape=SHAPES,
    kernel=PAIR,
    stride=PAIR,
    dilation=PAIR,
    padding=st.sampled_from(["same", "valid"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_patches_have_numpys_bits(shape, kernel, stride, dilation, padding, seed):
    if padding == "valid" and any((k - 1) * d >= size for k, d, size in zip(kernel, dilation, shape[1:3], strict=True)):
        return
    layer = conv2d(4, kernel, stride, padding, dilation)
    compiled, plain = both(layer, drawn(shape, seed, 0.0), seed)
    assert compiled == plain


def test_a_pool_never_gives_minus_zero():
    x = np.full((1, 2, 2, 9), -0.0, np.float32)
    for found in both(max_pool2d(2), x, 0):
        assert found[0] == np.zeros((1, 1, 1, 9), np.float32).tobytes()


@pytest.mark.parametrize("channels", [3, 9])
def test_of_equal_values_the_first_gets_the_gradient(channels):
    layer = max_pool2d(2)
    _, backward = layer.forward({}, np.ones((1, 2, 2, channels), np.float32), Context(Workspace(), 0, np.dtype("f")))
    dx = backward(np.ones((1, 1, 1, channels), np.float32), {})
    assert dx[0, :, :, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert dx.sum() == channels


@pytest.mark.parametrize("name", ["largest", "share"])
@pytest.mark.parametrize(
    ("shape", "size"), [((1, 2, 2, 3), (0, 2)), ((1, 2, 2, 4), (2, 2)), ((1, 2, -2, 3), (2, 2)), ((2, 2, 2, 3), (2, 2))]
)
def test_shapes_that_do_not_fit_are_refused(name, shape, size):
    x, y, winner = np.zeros((1, 2, 2, 3), "f"), np.zeros((1, 1, 1, 3), "f"), np.zeros((1, 1, 1, 3), np.int8)
    arrays = (x, y, winner) if name == "largest" else (y, winner, x)
    with pytest.raises(ValueError, match="fit together"):
        getattr(images._images, name)(*arrays, shape, size)


@pytest.mark.parametrize("name", ["gather", "planes"])
def test_patches_that_do_not_fit_are_refused(name):
    x, patches = np.zeros((1, 2, 2, 3), "f"), np.zeros((1, 2, 2, 9, 2), "f")
    with pytest.raises(ValueError, match="fit together"):
        getattr(images._images, name)(x, patches, x.shape, (3, 3), (1, 1), (1, 1), (1, 1), (2, 2))
