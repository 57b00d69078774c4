"""The law of leaves that are computed together: every bit is that of leaves computed alone and added by the tree."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.nn import blas, stack
from distprop.nn.layer import Layer, same_shape
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import build_loss
from distprop.nn.metrics import build_metrics
from distprop.nn.network import build_network
from distprop.nn.together import FAMILIAR, ROWS, Rows, Together, each
from tests.nn.cases import rng, weights_of

LAYERS = [{"dense": 33}, "relu", {"dropout": 0.3}, {"dense": {"width": 16, "bias": False}}, "gelu", {"dense": 4}]
trees = st.recursive(st.integers(1, 17), lambda inner: st.tuples(inner, inner), max_leaves=6)


def computer(layers: Any = LAYERS) -> LeafComputer:
    metrics = build_metrics(("accuracy",), "classification")
    return LeafComputer(build_network(layers, (9,)), build_loss("softmax_cross_entropy"), metrics, seed=5)


def rows_of(sizes: Any) -> Any:
    shards = iter(range(100))
    draws = rng(3)

    def leaf(size: int) -> Rows:
        x = draws.normal(size=(size, 9)).astype(np.float32)
        return Rows(x, draws.integers(0, 4, size), None, next(shards))

    return each(leaf, sizes)


def alone(leaf: LeafComputer, leaves: Any, flat: Any, step: int) -> tuple[Any, Any]:
    if type(leaves) is tuple:
        left, right = (alone(leaf, part, flat, step) for part in leaves)
        return left[0] + right[0], left[1] + right[1]
    out = np.empty_like(flat)
    return leaf.gradient(flat, leaves.x, leaves.y, leaves.weights, step, leaves.shard, out), out


@pytest.mark.parametrize("exact", [True, False], ids=["products as tried", "products apart"])
@settings(max_examples=25, deadline=None)
@given(sizes=trees, step=st.integers(0, 99))
def test_leaves_computed_together_have_the_bits_of_leaves_computed_alone(exact: bool, sizes: Any, step: int) -> None:
    leaf, leaves = computer(), rows_of(sizes)
    flat = weights_of(leaf.network)
    tail, gradient = alone(leaf, leaves, flat, step)
    out = np.full_like(flat, np.nan)
    with pytest.MonkeyPatch.context() as patch:
        if not exact:
            patch.setattr(stack, "_stacks_exactly", lambda *_: False)
            patch.setattr(stack, "adds_exactly", lambda *_: False)
        together = Together(leaf).gradient(flat, leaves, step, out)
    assert out.tobytes() == gradient.tobytes()
    assert together.tobytes() == tail.tobytes()


@pytest.mark.skipif(blas._function() is None, reason="NumPy has another BLAS than that of its wheels")
@pytest.mark.parametrize(("sizes", "added"), [((8, 8), 1), ((3, (5, 4)), 1), (((4, 4), (4, 4)), 2), (((2, 3), 6), 2)])
def test_products_of_large_layers_are_added_to_what_is_there(sizes: Any, added: int) -> None:
    """One for each leaf that is the right one of a pair."""
    leaf, leaves = computer([{"dense": 2_000}, "relu", {"dense": 4}]), rows_of(sizes)
    flat, calls = weights_of(leaf.network), []

    def add(x: Any, dy: Any, out: Any) -> None:
        calls.append(len(x))
        blas.add_product(x, dy, out)

    _, gradient = alone(leaf, leaves, flat, 1)
    out = np.full_like(flat, np.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "add_product", add)
        Together(leaf).gradient(flat, leaves, 1, out)
    assert out.tobytes() == gradient.tobytes()
    assert len(calls) == added


def taken(leaf: LeafComputer, sizes: Any) -> bool:
    together, flat = Together(leaf), weights_of(leaf.network)
    early = [together.takes(sizes, flat) for _ in range(FAMILIAR)]
    assert not any(early), "what is rare is not worth a trial"
    return together.takes(sizes, flat)


def test_what_comes_often_is_tried_and_taken() -> None:
    assert taken(computer(), ((8, 8), 8))


def test_too_many_rows_are_not_taken() -> None:
    assert not taken(computer(), (ROWS, 1))


def test_a_network_with_a_layer_that_cannot_stack_is_not_taken() -> None:
    assert not taken(computer([{"dense": 8}, "layer_norm", {"dense": 4}]), (8, 8))


def test_a_layer_whose_rows_know_of_each_other_fails_the_trial() -> None:
    def forward(p: Any, x: Any, ctx: Any) -> Any:  # noqa: ARG001
        return x - x.mean(axis=0), lambda dy, g: dy - dy.mean(axis=0)  # noqa: ARG005

    centred = Layer("centred", {}, same_shape, forward, stacks=True)
    assert not taken(computer([{"dense": 8}, centred, {"dense": 4}]), (8, 8))
