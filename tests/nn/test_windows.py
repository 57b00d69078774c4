"""Convolution and pooling against plain loops in float64."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError, ShapeError
from distprop.nn.layer import Context
from distprop.nn.layers import build_layer
from distprop.nn.workspace import Workspace
from tests.nn.cases import rng

SIZES = st.integers(1, 4)
PAIRS = st.tuples(SIZES, SIZES).map(list)
PADDINGS = st.one_of(st.sampled_from(["same", "valid"]), st.integers(0, 2))
convolutions = given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    groups=st.integers(1, 3),
    depth=st.integers(1, 5),
    window=st.tuples(PAIRS, PAIRS, PAIRS, PADDINGS),
)


def computed(spec, x, p):
    return build_layer(spec).forward(p, x.copy(), Context(Workspace(), 0, np.dtype(np.float64)))[0]


def places(length: int, kernel: int, stride: int, dilation: int, padding) -> list[list[int]]:
    """For each place of a window the values under it; those outside of 0..length-1 are padding."""
    covered = (kernel - 1) * dilation + 1
    if padding == "same":
        total = max(0, (math.ceil(length / stride) - 1) * stride + covered - length)
        before, after = total // 2, total - total // 2
    else:
        before = after = 0 if padding == "valid" else padding
    starts = range(-before, length + after - covered + 1, stride)
    return [[start + tap * dilation for tap in range(kernel)] for start in starts]


def under(x, rows: list[int], columns: list[int]):
    """(tap row, tap column, values (C,)) of one image under a window, without padding."""
    for (i, row), (j, column) in product(enumerate(rows), enumerate(columns)):
        if 0 <= row < x.shape[0] and 0 <= column < x.shape[1]:
            yield i, j, x[row, column]


def convolved(image, weights, bias, down, across, groups):
    depth, width = weights.shape[2], weights.shape[3] // groups
    out = np.zeros((len(down), len(across), weights.shape[3])) + bias
    for (a, rows), (b, columns) in product(enumerate(down), enumerate(across)):
        for i, j, values in under(image, rows, columns):
            for k in range(weights.shape[3]):
                group = k // width
                out[a, b, k] += values[group * depth : (group + 1) * depth] @ weights[i, j, :, k]
    return out


def fitting(spec, shape):
    try:
        return build_layer(spec).shapes(shape)
    except (ShapeError, ConfigError):
        assume(False)


@settings(max_examples=40, deadline=None)
@convolutions
def test_conv2d_is_its_sum(height, width, groups, depth, window):
    kernel, stride, dilation, padding = window
    settings_ = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    spec = {"conv2d": {"channels": 2 * groups, **settings_}}
    shape = (height, width, depth * groups)
    out, parameters = fitting(spec, shape)
    p = {name: rng(1).normal(size=of) for name, of in parameters.items()}
    x = rng(2).normal(size=(2, *shape))
    y = computed(spec, x, p)
    down, across = (places(shape[k], kernel[k], stride[k], dilation[k], padding) for k in (0, 1))
    expected = [convolved(image, p["W"], p["b"], down, across, groups) for image in x]
    assert y.shape == (2, *out)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)


@settings(max_examples=40, deadline=None)
@convolutions
def test_the_way_back_is_the_adjoint_of_conv2d(height, width, groups, depth, window):
    """A convolution is linear in x and in W: <dy, conv(x, W)> is <dx, x>, and <dW, W>."""
    kernel, stride, dilation, padding = window
    settings_ = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    spec, shape = {"conv2d": {"channels": 2 * groups, **settings_, "bias": False}}, (height, width, depth * groups)
    _, parameters = fitting(spec, shape)
    p = {"W": rng(1).normal(size=parameters["W"])}
    x, g = rng(2).normal(size=(2, *shape)), {"W": np.full(parameters["W"], np.nan)}
    y, backward = build_layer(spec).forward(p, x, Context(Workspace(), 0, np.dtype(np.float64)))
    dy = rng(3).normal(size=y.shape)
    expected = np.vdot(dy, y)
    np.testing.assert_allclose(np.vdot(backward(dy, g), x), expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.vdot(g["W"], p["W"]), expected, rtol=1e-11, atol=1e-11)


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 9), depth=st.integers(1, 6), sizes=st.tuples(SIZES, SIZES, SIZES), padding=PADDINGS)
def test_conv1d_is_the_sum_over_one_line(length, depth, sizes, padding):
    named = dict(zip(("kernel", "stride", "dilation"), sizes, strict=True))
    spec = {"conv1d": {"channels": 3, "padding": padding, **named}}
    _, parameters = fitting(spec, (length, depth))
    p = {name: rng(1).normal(size=of) for name, of in parameters.items()}
    x = rng(2).normal(size=(2, length, depth))
    line = places(length, *sizes, padding)
    expected = [convolved(one[None], p["W"][None], p["b"], [[0]], line, 1)[0] for one in x]
    np.testing.assert_allclose(computed(spec, x, p), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["max_pool2d", "average_pool2d"])
@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 7), width=st.integers(1, 7), size=PAIRS, stride=PAIRS | st.none(), padding=PADDINGS)
def test_pools_are_the_largest_value_and_the_mean(kind, height, width, size, stride, padding):
    spec, shape = {kind: {"size": size, "stride": stride, "padding": padding}}, (height, width, 2)
    out, _ = fitting(spec, shape)
    x = rng(3).normal(size=(2, *shape))
    y = computed(spec, x, {})
    assert y.shape == (2, *out)
    down, across = (places(shape[k], size[k], (stride or size)[k], 1, padding) for k in (0, 1))
    summary = np.max if kind == "max_pool2d" else np.mean
    for image, (a, rows), (b, columns) in product(range(2), enumerate(down), enumerate(across)):
        values = [value for _, _, value in under(x[image], rows, columns)]
        np.testing.assert_allclose(y[image, a, b], summary(values, axis=0), rtol=1e-12)


@pytest.mark.parametrize("kind", ["max_pool", "average_pool"])
def test_pools_of_sequences_are_those_of_one_line(kind):
    x = rng().normal(size=(3, 9, 2))
    sequence = computed({f"{kind}1d": {"size": 3, "stride": 2, "padding": 1}}, x, {})
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=np.nan)
    reduce = np.nanmax if kind == "max_pool" else np.nanmean
    expected = [reduce(padded[:, start : start + 3], axis=1) for start in range(0, 9, 2)]
    np.testing.assert_allclose(sequence, np.stack(expected, axis=1), rtol=1e-12)


def test_of_equal_values_the_first_gets_the_gradient():
    x = np.zeros((1, 2, 2, 1))
    y, backward = build_layer("max_pool2d").forward({}, x, Context(Workspace(), 0, np.dtype(np.float64)))
    assert backward(np.ones_like(y), {})[0, :, :, 0].tolist() == [[1, 0], [0, 0]]


def test_global_average_pool_is_the_mean_over_places():
    x = rng().normal(size=(3, 4, 5, 2))
    np.testing.assert_allclose(computed("global_average_pool", x, {}), x.mean(axis=(1, 2)))
    np.testing.assert_allclose(computed("global_average_pool", x[:, 0], {}), x[:, 0].mean(axis=1))


def test_reshape_keeps_the_order():
    x = np.arange(24.0).reshape(2, 12)
    y = computed({"reshape": [2, -1, 3]}, x, {})
    assert y.shape == (2, 2, 2, 3)
    assert y.reshape(-1).tolist() == list(range(24))


@pytest.mark.parametrize(
    ("spec", "shape", "said"),
    [
        ({"conv2d": 4}, (28, 28), r"\(28, 28\)[\s\S]*\(H, W, C\)"),
        ({"conv1d": 4}, (28,), r"\(28,\)[\s\S]*\(T, C\)"),
        ({"conv2d": {"channels": 4, "kernel": 5, "padding": "valid"}}, (4, 9, 1), r"\(4, 9, 1\) are smaller"),
        ({"conv2d": {"channels": 4, "groups": 2}}, (4, 4, 3), "3 channels in and 4 out"),
        ("max_pool2d", (1, 9, 2), r"\(1, 9, 2\) are smaller"),
        ("global_average_pool", (3,), r"\(3,\)"),
        ({"reshape": [5, -1]}, (12,), r"12 values; \(5, -1\) takes multiples of 5"),
    ],
)
def test_rows_that_do_not_fit_are_refused(spec, shape, said):
    with pytest.raises(ShapeError, match=said):
        build_layer(spec).shapes(shape)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"conv2d": {"channels": 4, "kernel": [3]}}, "images have two axes"),
        ({"conv2d": {"channels": 4, "padding": "smae"}}, "`conv2d.padding` is 'smae'"),
        ({"conv2d": {"channels": 4, "padding": 3}}, "padding alone"),
        ({"conv2d": {"channels": 4, "groups": 3}}, "4 channels do not divide"),
        ({"conv1d": {"channels": 4, "kernel": [3, 3]}}, r"`conv1d.kernel` is \[3, 3\]"),
        ({"max_pool2d": {"size": 0}}, "`max_pool2d.size` is 0"),
        ({"reshape": [-1, -1]}, "may be -1"),
        ({"reshape": [2, 0]}, "`reshape.shape` is 0"),
    ],
)
def test_wrong_settings_are_refused(spec, said):
    with pytest.raises(ConfigError, match=said):
        build_layer(spec)
