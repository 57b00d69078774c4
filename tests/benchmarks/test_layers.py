"""Layers measured alone: the same layer on both sides, or none is measured."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import layers
from benchmarks.layer_cases import SINGLES, Single
from benchmarks.layer_sides import Ours, Theirs
from distprop.nn.layers import LAYERS

SMALL = [replace(single, rows=3) for single in SINGLES]


@pytest.mark.parametrize("single", SMALL, ids=lambda single: single.kind)
def test_a_layer_is_there_and_measures_both_ways(single: Single) -> None:
    assert single.kind in LAYERS
    side = Ours(single)
    y, dx = side.values()
    assert dx.shape == (3, *single.input_shape)
    assert np.abs(y).max() > 0 < np.abs(dx).max()
    assert side.once() > 0
    again = side.values()
    np.testing.assert_array_equal((y, dx)[1], again[1])
    np.testing.assert_array_equal(y, again[0])


@pytest.mark.parametrize("single", SMALL, ids=lambda single: single.kind)
def test_pytorch_has_the_same_layer_in_both_layouts(single: Single) -> None:
    if find_spec("torch") is None:
        pytest.skip("PyTorch, to compare with, is in the extra `bench`")
    for last in (False, True):
        found = layers.agreed(single, Ours(single).values(), Theirs(single, last).values())
        assert found is not None
        assert found < layers.AGREE


def test_another_layer_is_not_measured() -> None:
    y = np.ones((2, 3), np.float32)
    with pytest.raises(RuntimeError, match="something else"):
        layers.agreed(SINGLES[0], (y, y), (y, 1.01 * y))
    with pytest.raises(RuntimeError, match="something else"):
        layers.agreed(SINGLES[0], (y * np.nan, y), (y, y))


def test_the_layers_that_have_targets_are_those_that_were_promised() -> None:
    targets = {single.kind: single.target for single in SINGLES if single.target}
    assert targets == {"conv2d": 2.0, "lstm": 1.5, "attention": 1.5}
