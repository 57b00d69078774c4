"""Laws of leaves that are worked on in micro-batches."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distprop.nn.layer import Context, Place
from distprop.nn.layers import build_layer
from distprop.nn.leaf import LeafComputer, Progress
from distprop.nn.losses import LOSSES
from distprop.nn.metrics import build_metrics
from distprop.nn.network import build_network
from distprop.nn.tail import ROWS, SQUARES
from distprop.nn.together import FAMILIAR, Together
from distprop.nn.workspace import Workspace
from tests.nn.cases import DEEP, allocated, batch, rng, row_room, weights_of

STILL: list[Any] = [{"dense": 24}, "relu", {"residual": ["layer_norm", {"dense": 24}]}, "gelu", {"dense": 4}]
IMAGES: list[Any] = [{"reshape": [3, 3, 1]}, {"conv2d": 5}, "relu", "max_pool2d", "flatten", {"dense": 4}]
NORMALIZED: list[Any] = [{"dense": 8}, "batch_norm", "tanh", {"dense": 4}]


def computer(size: int | None, layers: list[Any] = DEEP) -> LeafComputer:
    metrics = build_metrics(None, "classification")
    return LeafComputer(build_network(layers, (9,)), LOSSES["softmax_cross_entropy"], metrics, 3, micro_batch=size)


def gradient(
    leaf: LeafComputer,
    rows: int,
    dtype: Any = np.float32,
    weighted: bool = False,
    step: int = 0,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(tail, gradient)."""
    (x, y), flat = batch(rows), weights_of(leaf.network, dtype)
    weights = rng(4).uniform(0.5, 2.0, rows).astype(dtype) if weighted else None
    out = np.full_like(flat, np.nan)
    return leaf.gradient(flat, x.astype(dtype), y, weights, step, 1, out, True, progress), out


def bits(pair: tuple[np.ndarray, np.ndarray]) -> tuple[bytes, ...]:
    return tuple(array.tobytes() for array in pair)


@pytest.mark.parametrize("layers", [STILL, IMAGES], ids=["vectors", "images"])
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 40), size=st.integers(1, 41), weighted=st.booleans())
@example(rows=1, size=1, weighted=False)
@example(rows=33, size=16, weighted=True)  # one row in the last piece
def test_the_gradient_is_that_of_the_whole_leaf(layers: list[Any], rows: int, size: int, weighted: bool) -> None:
    whole_tail, whole = gradient(computer(None, layers), rows, np.float64, weighted)
    tail, found = gradient(computer(size, layers), rows, np.float64, weighted)
    np.testing.assert_allclose(tail, whole_tail, rtol=1e-10)
    np.testing.assert_allclose(found, whole, rtol=1e-10, atol=1e-10)
    assert tail[ROWS] == rows


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 30), size=st.integers(1, 12), before=st.lists(st.integers(1, 30), max_size=2))
def test_what_was_computed_before_changes_no_bit(rows: int, size: int, before: list[int]) -> None:
    used = computer(size)
    for number, earlier in enumerate(before):
        gradient(used, earlier, step=number)
    assert bits(gradient(used, rows, step=9)) == bits(gradient(computer(size), rows, step=9))


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 30), more=st.integers(0, 5))
def test_a_leaf_of_one_piece_has_the_bits_of_a_whole_one(rows: int, more: int) -> None:
    assert bits(gradient(computer(rows + more), rows)) == bits(gradient(computer(None), rows))


@settings(max_examples=10, deadline=None)
@given(rows=st.integers(2, 30), size=st.integers(1, 12))
def test_pieces_are_added_in_their_order(rows: int, size: int) -> None:
    """To the last bit, with statistics of batches: each piece has its own, times its rows."""
    leaf, whole = computer(size, NORMALIZED), computer(None, NORMALIZED)
    (x, y), flat = batch(rows), weights_of(leaf.network)
    sums: list[np.ndarray] = []
    for start in range(0, rows, size):
        out = np.empty_like(flat)
        tail = whole.gradient(flat, x[start : start + size], y[start : start + size], None, 0, 1, out)
        sums = [sums[0] + tail, sums[1] + out] if sums else [tail, out]
    found = np.empty_like(flat)
    tail = leaf.gradient(flat, x, y, None, 0, 1, found)
    assert bits((tail, found)) == bits((sums[0], sums[1]))


def test_dropout_draws_anew_in_each_micro_batch_and_never_what_another_shard_draws() -> None:
    layer, x = build_layer({"dropout": 0.5}), np.ones((4, 300), np.float32)

    def mask(place: Place) -> bytes:
        return layer.forward({}, x, Context(Workspace(), 0, np.dtype(np.float32), place=place))[0].tobytes()

    assert len({mask(Place(1, 2, shard, piece)) for shard in range(3) for piece in range(3)}) == 9


def test_the_squares_are_those_of_the_whole_gradient_with_rows_of_tables_added_up() -> None:
    table = {"embedding": {"rows": 6, "width": 3, "sparse": True}}
    layers = [table, "flatten", {"dense": 4}]
    found = []
    for size in (None, 4):
        leaf, appended = computer(size, layers), row_room(200, 3)
        flat, x = weights_of(leaf.network), rng(2).integers(0, 6, (11, 9)).astype(np.float32)
        out = np.empty(leaf.network.arena.gradient_size, np.float32)
        y = rng(3).integers(0, 4, 11)
        tail = leaf.gradient(flat, x, y, None, 0, 0, out, squares=True, rows=(appended,))
        found.append(tail[SQUARES])
    assert len(appended) > 6, "rows of one id are there several times"
    assert found[1] == pytest.approx(found[0], rel=1e-5)


class Listener:
    """Keeps what it is told, and the gradient as it is then."""

    def __init__(self, out: np.ndarray) -> None:
        self.out, self.seen = out, [(out.size, b"")]
        self.tail = np.empty(0)

    def measured(self, tail: np.ndarray) -> None:
        self.tail = tail.copy()

    def written(self, start: int) -> None:
        self.seen.append((start, self.out[start:].tobytes()))


@pytest.mark.parametrize("layers", [STILL, IMAGES], ids=["vectors", "images"])
def test_what_is_told_to_be_there_is_the_whole_sum(layers: list[Any]) -> None:
    leaf = computer(4, layers)
    (x, y), flat = batch(11), weights_of(leaf.network)
    out = np.full_like(flat, np.nan)
    listener = Listener(out)
    tail = leaf.gradient(flat, x, y, None, 0, 1, out, progress=listener)
    assert listener.tail.tobytes() == tail.tobytes()
    assert [start for start, _ in listener.seen] == sorted((start for start, _ in listener.seen), reverse=True)
    assert listener.seen[-1][0] == 0 and len(listener.seen) > 2
    assert all(seen == out[start:].tobytes() for start, seen in listener.seen)


def test_memory_follows_the_micro_batch() -> None:
    def held(rows: int, size: int | None) -> int:
        leaf = computer(size, [{"dense": 64}, "tanh", {"dense": 64}, "tanh", {"dense": 4}])
        gradient(leaf, rows)
        return leaf.workspace.nbytes - (4 * leaf.network.arena.size if size else 0)

    assert held(2048, 16) == held(64, 16) < held(2048, None) / 16


def test_a_steady_leaf_allocates_nothing_large() -> None:
    leaf = computer(128, [{"dense": 256}, "relu", {"dropout": 0.1}, {"dense": 256}, "gelu", {"dense": 4}])
    # two draws of dropout; activations and the gradient have 131 kB and 280 kB
    assert allocated(leaf, *batch(300)) < 2**17


def test_leaves_are_not_stacked_where_they_are_to_need_little_memory() -> None:
    for size in (None, 8):
        leaf = computer(size, [{"dense": 8}, "relu", {"dense": 4}])
        together, flat = Together(leaf), weights_of(leaf.network)
        assert any(together.takes((8, 8), flat) for _ in range(FAMILIAR + 2)) == (size is None)
