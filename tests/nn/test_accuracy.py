"""In float32 every layer is as accurate as the tables of layers say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.nn.layer import Context, Place
from distprop.nn.layers import ACCURACY, build_layer
from distprop.nn.workspace import Workspace
from tests.nn.cases import LAYER_CASES, LayerCase, rng, rows_for
from tests.nn.test_layers import parameters


def passed(case: LayerCase, shape: tuple[int, ...], seed: int, dtype: type) -> dict[str, np.ndarray]:
    """Outputs and gradients for the same float32 numbers, computed in `dtype`."""
    layer = build_layer(case.spec)
    p = {name: view.astype(dtype) for name, view in parameters(layer, shape, np.float32).items()}
    x = rows_for(layer, (5, *shape), seed, np.float32).astype(dtype)
    y, backward = layer.forward(p, x, Context(Workspace(), 0, np.dtype(dtype), place=Place(1, 2, 3)))
    found = {"y": y.astype(np.float64)}
    g = {name: np.empty_like(view) for name, view in p.items()}
    dx = backward(rng(seed + 1).normal(size=y.shape).astype(np.float32).astype(dtype), g)
    return found | {"dx": dx.astype(np.float64)} | {name: view.astype(np.float64) for name, view in g.items()}


@pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: str(case.spec))
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_float32_is_as_accurate_as_stated(case: LayerCase, data):
    shape = data.draw(st.sampled_from(case.input_shapes))
    seed = data.draw(st.integers(0, 2**16))
    exact, found = (passed(case, shape, seed, dtype) for dtype in (np.float64, np.float32))
    for name, values in exact.items():
        assert np.abs(found[name] - values).max(initial=0) <= ACCURACY * max(1.0, np.abs(values).max(initial=0)), name
