"""Laws of networks."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError, ShapeError
from distprop.nn.activations import relu
from distprop.nn.dense import dense
from distprop.nn.layer import Context, Place
from distprop.nn.network import Pass, build_network
from distprop.nn.workspace import Workspace
from tests.nn.cases import DEEP, rng, weights_of

KINDS = ["relu", "tanh", "gelu", "silu", "elu", {"dropout": 0.5}, "flatten", {"dense": 5}, "layer_norm"]
CONTAINERS = [
    {"sequence": ["flatten"]},
    {"sequence": [{"dropout": 0.5}, "relu"]},
    {"residual": ["relu", {"dense": 5}]},
    {"parallel": {"branches": [["relu", {"dropout": 0.5}], ["flatten"], [{"dense": 5}]], "join": "multiply"}},
]


def test_views_are_named_by_layer_kind_and_parameter():
    network = build_network([{"dense": 3}, "relu", {"dense": {"width": 2, "bias": False}}], (4,))
    shapes = {slot.name: slot.shape for slot in network.arena.slots}
    assert shapes == {"0.dense.W": (4, 3), "0.dense.b": (3,), "2.dense.W": (3, 2)}
    assert network.arena.size == 12 + 3 + 6


def test_a_dense_layer_that_comes_first_gets_images_flattened():
    network = build_network([{"dense": 3}], (2, 2, 1))
    assert [line.name for line in network.summary()] == ["0.flatten", "1.dense"]
    assert network.input_shape == (2, 2, 1)
    assert network.predict(weights_of(network), np.ones((5, 2, 2, 1), np.float32)).shape == (5, 3)


def test_predictions_are_the_formula():
    network = build_network([{"dense": 3}, "relu", {"dense": 2}], (4,))
    flat, x = weights_of(network, np.float64), rng().normal(size=(5, 4))
    p = network.arena.views(flat)
    hidden = np.maximum(x @ p["0.dense.W"] + p["0.dense.b"], 0)
    np.testing.assert_allclose(network.predict(flat, x), hidden @ p["2.dense.W"] + p["2.dense.b"])


def test_predictions_are_arrays_of_their_own():
    network, workspace = build_network([{"dense": 3}], (4,)), Workspace()
    flat, x = weights_of(network), rng().normal(size=(5, 4)).astype(np.float32)
    first = network.predict(flat, x, workspace)
    kept = first.copy()
    network.predict(flat, x + 1, workspace)
    assert first.tobytes() == kept.tobytes()


@pytest.mark.parametrize("layers", [["relu", {"dense": 2}], ["flatten", "tanh"], [{"dropout": 0.5}, "elu"], DEEP])
@pytest.mark.parametrize("training", [False, True])
def test_the_callers_rows_are_not_written(layers, training):
    network = build_network(layers, (6,))
    x = rng().normal(size=(5, 6)).astype(np.float32)
    x.flags.writeable = False
    y, backward = network.forward(weights_of(network), x, Pass(Workspace(), training, Place()))
    if training:
        backward(np.ones_like(y), np.empty(network.arena.size, np.float32))


@settings(max_examples=15, deadline=None)
@given(
    layers=st.lists(
        st.sampled_from(
            [
                "relu",
                "tanh",
                "gelu",
                "silu",
                "elu",
                {"dropout": 0.5},
                "flatten",
                {"dense": 5},
                "layer_norm",
                *CONTAINERS,
            ]
        ),
        min_size=1,
        max_size=7,
    ),
    seed=st.integers(0, 99),
)
@np.errstate(over="ignore", invalid="ignore")  # products of products of products
def test_lending_memory_changes_no_bit(layers, seed):
    """Working in place and in used buffers gives what each layer gives by itself, in memory of its own."""
    network = build_network(layers, (5,))
    flat, x = weights_of(network, seed=seed), rng(seed).normal(size=(4, 5)).astype(np.float32)
    workspace = Workspace()
    for training in (True, False):
        with np.errstate(all="ignore"):  # products of products grow beyond what float32 holds
            network.forward(flat, x + 1, Pass(workspace, training, Place(9)))
            y, _ = network.forward(flat, x, Pass(workspace, training, Place(9)))
            assert y.tobytes() == apart(network, flat, x, training).tobytes()


def apart(network, flat, x, training):
    p = network.arena.views(flat)
    for stage in network.stages:
        mine = {name: p[f"{stage.name}.{name}"] for name in stage.parameters}
        context = Context(Workspace(), stage.number, flat.dtype, training, place=Place(9))
        x = stage.layer.forward(mine, x.copy(), context)[0].copy()
    return x


def test_no_rows_give_no_predictions():
    network = build_network(DEEP, (6,))
    assert network.predict(weights_of(network), np.empty((0, 6), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_compute_in_the_type_of_their_weights(dtype):
    network = build_network(DEEP, (6,))
    assert network.predict(weights_of(network, dtype), np.ones((2, 6), np.float32)).dtype == dtype


def test_initial_weights_are_a_function_of_the_seed():
    network = build_network(DEEP, (6,))
    first, second, other = (np.full(network.arena.size, np.nan, np.float32) for _ in range(3))
    network.init(1, first)
    network.init(1, second)
    network.init(2, other)
    assert first.tobytes() == second.tobytes() != other.tobytes()
    assert np.isfinite(first).all()


def test_weights_before_rectifiers_are_he_normal_and_others_glorot_uniform():
    network = build_network([{"dense": 500}, {"dropout": 0.1}, "relu", {"dense": 400}, "tanh", {"dense": 5}], (300,))
    flat = np.empty(network.arena.size, np.float32)
    network.init(0, flat)
    p = network.arena.views(flat)
    assert p["0.dense.W"].std() == pytest.approx(np.sqrt(2 / 300), rel=0.01)
    assert np.abs(p["0.dense.W"]).max() > 3 * np.sqrt(2 / 300)
    assert p["3.dense.W"].std() == pytest.approx(np.sqrt(2 / 900), rel=0.01)
    assert np.abs(p["3.dense.W"]).max() <= np.sqrt(6 / 900)
    assert not p["0.dense.b"].any()


def test_a_network_is_made_again_from_its_specs_as_json_or_pickle():
    network = build_network([dense(3), relu(), {"dropout": 0.1}, {"dense": 2}], (4,))
    specs = json.loads(json.dumps(network.specs))
    for again in (build_network(specs, network.input_shape), pickle.loads(pickle.dumps(network))):
        assert again.arena == network.arena
        flat, x = weights_of(network), np.ones((3, 4), np.float32)
        assert again.predict(flat, x).tobytes() == network.predict(flat, x).tobytes()


def test_the_summary_counts_parameters_and_work():
    first, middle, last = build_network([{"dense": 10}, "relu", {"dense": 4}], (7,)).summary()
    assert (first.parameters, first.flops_per_row, first.activation_bytes_per_row) == (80, 4 * 70, 40)
    assert (middle.parameters, middle.flops_per_row, middle.output_shape) == (0, 20, (10,))
    assert (last.parameters, last.flops_per_row, last.output_shape) == (44, 6 * 40, (4,))


def test_a_shape_that_does_not_fit_names_the_layer_and_both_shapes():
    with pytest.raises(ShapeError) as caught:
        build_network(["relu", {"dense": 3}], (2, 2))
    assert "layer 1.dense: rows of shape (2, 2)" in str(caught.value)
    assert "(D,)" in str(caught.value)
    assert "flatten" in caught.value.fix


def test_rows_of_another_shape_are_refused():
    network = build_network([{"dense": 3}], (4,))
    with pytest.raises(ShapeError, match=r"layer 0.dense .*\(2, 5\)[\s\S]*\(4,\)"):
        network.predict(weights_of(network), np.ones((2, 5), np.float32))


def test_weights_of_another_network_are_refused():
    with pytest.raises(ShapeError, match="15 values"):
        build_network([{"dense": 3}], (4,)).predict(np.ones(14, np.float32), np.ones((2, 4), np.float32))


def test_errors_of_a_layer_say_which_one():
    with pytest.raises(ConfigError, match="layer 1 of the model: unknown layer 'rellu'"):
        build_network([{"dense": 3}, "rellu"], (4,))
    with pytest.raises(ConfigError, match="without layers"):
        build_network([], (4,))
