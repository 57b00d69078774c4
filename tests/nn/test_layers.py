"""Laws that every layer keeps."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arrays import BLOCK
from distprop.nn.gradient_check import check_layer
from distprop.nn.init import Draw
from distprop.nn.layer import Context, Place
from distprop.nn.layers import LAYERS, build_layer, layer_spec
from distprop.nn.workspace import Workspace
from tests.nn.cases import ANY, LAYER_CASES, LayerCase, rng, rows_for

EACH = [pytest.param(case, shape, id=f"{case.spec}-{shape}") for case in LAYER_CASES for shape in case.input_shapes]


def context(dtype=np.float64, **more) -> Context:
    return Context(Workspace(), 0, np.dtype(dtype), place=Place(1, 2, 3), **more)


def parameters(layer, shape, dtype=np.float64) -> dict[str, np.ndarray]:
    p = {name: np.empty(s, dtype) for name, s in layer.shapes(shape)[1].items()}
    layer.init(p, {name: Draw(0, 0, number, False) for number, name in enumerate(p)})
    return p


def test_every_layer_has_a_case():
    assert LAYERS.keys() == {case.kind for case in LAYER_CASES}, "a new layer needs a line in LAYER_CASES"


@pytest.mark.parametrize(("case", "shape"), EACH)
def test_output_shape_is_as_promised_and_every_gradient_is_written(case: LayerCase, shape):
    layer = build_layer(case.spec)
    output_shape, shapes = layer.shapes(shape)
    y, backward = layer.forward(parameters(layer, shape), rows_for(layer, (6, *shape)), context())
    g = {name: np.full(s, np.nan) for name, s in shapes.items()}
    dx = backward(np.ones_like(y), g)
    assert y.shape == (6, *output_shape)
    assert dx.shape == (6, *shape)
    assert all(np.isfinite(view).all() for view in (y, dx, *g.values()))


@pytest.mark.parametrize(("case", "shape"), EACH)
def test_gradients_belong_to_values(case: LayerCase, shape):
    assert check_layer(build_layer(case.spec), shape, rng(1)) < 1e-6


@pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: str(case.spec))
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_gradients_belong_to_values_for_any_shape(case: LayerCase, data):
    ranks = {len(shape) for shape in case.input_shapes}
    places = st.lists(st.integers(case.least, case.least + 5), min_size=min(ranks) - 1, max_size=max(ranks) - 1)
    shape = (*data.draw(places), data.draw(st.sampled_from(case.last)))
    rows, seed = data.draw(st.integers(1, 7)), data.draw(st.integers(0, 2**16))
    if case.kind == "softmax" and shape == (1,):
        return  # constant: the gradient is 0, and a relative error of it means nothing
    assert check_layer(build_layer(case.spec), shape, rng(seed), rows) < 1e-6


@pytest.mark.parametrize(("case", "shape"), EACH)
def test_working_in_place_changes_no_bit(case: LayerCase, shape):
    layer = build_layer(case.spec)
    p = parameters(layer, shape, np.float32)
    found = []
    for mine in (False, True):
        x = rows_for(layer, (5, *shape), 2, np.float32)
        y, backward = layer.forward(p, x, context(np.float32, may_overwrite_input=mine))
        y_bytes = y.tobytes()
        dx = backward(np.ones_like(y), {name: np.empty_like(view) for name, view in p.items()})
        found.append((y_bytes, dx.tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize(("case", "shape"), EACH)
def test_inputs_and_parameters_are_only_read(case: LayerCase, shape):
    layer = build_layer(case.spec)
    p = parameters(layer, shape, np.float32)
    x = rows_for(layer, (5, *shape), 2, np.float32)
    for array in (x, *p.values()):
        array.flags.writeable = False
    y, backward = layer.forward(p, x, context(np.float32))
    backward(np.ones_like(y), {name: np.empty_like(view) for name, view in p.items()})


@pytest.mark.parametrize(("case", "shape"), EACH)
def test_float32_stays_float32(case: LayerCase, shape):
    layer = build_layer(case.spec)
    p = parameters(layer, shape, np.float32)
    y, backward = layer.forward(p, np.ones((3, *shape), np.float32), context(np.float32))
    dx = backward(np.ones_like(y), {name: np.empty_like(view) for name, view in p.items()})
    assert (y.dtype, dx.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    "case",
    [case for case in LAYER_CASES if case.input_shapes == ANY and case.kind not in ("dropout", "flatten")],
    ids=str,
)
def test_large_and_small_arrays_get_the_same_values(case: LayerCase):
    """Blocks have no seams: what a value becomes does not depend on where it is."""
    layer = build_layer(case.spec)
    x = rng(3).normal(size=(3, BLOCK // 2 + 5)).astype(np.float32)
    y, backward = layer.forward({}, x, context(np.float32))
    dx = backward(np.ones_like(y), {})
    for row in range(3):
        part, part_backward = layer.forward({}, x[row : row + 1], context(np.float32))
        assert part.tobytes() == y[row].tobytes()
        assert part_backward(np.ones_like(part), {}).tobytes() == dx[row].tobytes()


FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else 0.7 * math.expm1(x),
    "gelu": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
}


@pytest.mark.parametrize("case", [case for case in LAYER_CASES if case.kind in FORMULAS], ids=str)
def test_activations_are_their_formulas(case: LayerCase):
    x = np.linspace(-6, 6, 41)
    y, _ = build_layer(case.spec).forward({}, x[None].copy(), context())
    np.testing.assert_allclose(y[0], [FORMULAS[case.kind](value) for value in x], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", sorted(FORMULAS))
def test_activations_are_finite_where_inputs_are_large(kind):
    x = np.array([[-1e4, -90.0, 0.0, 90.0, 1e4]], np.float32)
    y, backward = build_layer(kind).forward({}, x, context(np.float32))
    assert np.isfinite(y).all()
    assert np.isfinite(backward(np.ones_like(y), {})).all()


def test_dropout_drops_its_share_and_keeps_the_mean():
    x = np.ones((100, 1000), np.float32)
    y, backward = build_layer({"dropout": 0.3}).forward({}, x, context(np.float32))
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1.0, abs=0.01)
    assert backward(np.ones_like(y), {}).tobytes() == y.tobytes()


def test_dropout_depends_on_place_and_layer_alone():
    layer, x = build_layer({"dropout": 0.5}), np.ones((40, 1000), np.float32)

    def mask(index: int, place: Place) -> bytes:
        return layer.forward({}, x, Context(Workspace(), index, np.dtype(np.float32), place=place))[0].tobytes()

    places = [(0, Place(1, 2, 3)), (1, Place(1, 2, 3)), (0, Place(2, 2, 3)), (0, Place(1, 3, 3)), (0, Place(1, 2, 4))]
    assert mask(0, Place(1, 2, 3)) == mask(0, Place(1, 2, 3))
    assert len({mask(*place) for place in places}) == len(places)


def test_dropout_draws_anew_in_each_block():
    y, _ = build_layer({"dropout": 0.5}).forward({}, np.ones((2, BLOCK), np.float32), context(np.float32))
    assert y[0].tobytes() != y[1].tobytes()


def test_dropout_does_nothing_outside_training():
    x = rng().normal(size=(4, 5))
    y, _ = build_layer({"dropout": 0.9}).forward({}, x, context(training=False))
    assert y is x


@pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: str(case.spec))
def test_a_layer_is_made_again_from_its_spec(case: LayerCase):
    layer = build_layer(case.spec)
    again = build_layer(layer_spec(layer))
    assert (again.kind, again.settings) == (layer.kind, layer.settings)
    assert set(layer.settings) == set(inspect.signature(LAYERS[layer.kind]).parameters)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("rellu", "did you mean `relu`"),
        ({"dense": {"widht": 3}}, "did you mean `width`"),
        ({"relu": 3}, "relu has no settings"),
        ("dense", "lacks its width"),
        ({"dense": 0}, "`dense.width` is 0"),
        ({"dense": 2.5}, "`dense.width` is 2.5"),
        ({"dense": {"width": 2, "init": "he_norml"}}, "did you mean `he_normal`"),
        ({"dropout": 1.0}, "from 0 to below 1"),
        ({"dropout": "high"}, "`dropout.rate` is 'high'"),
        ({"dense": 3, "relu": None}, "is no layer"),
        (3, "is no layer"),
    ],
)
def test_a_wrong_spec_is_told_apart(spec, said):
    with pytest.raises(ConfigError) as caught:
        build_layer(spec)
    assert said in str(caught.value)


@pytest.mark.parametrize("spec", [{"dense": 3}, "softmax"])
def test_layers_of_vectors_refuse_images(spec):
    with pytest.raises(ShapeError, match=r"\(4, 4\)"):
        build_layer(spec).shapes((4, 4))
