"""Laws of the leaf gradient."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ShapeError
from distprop.nn.counts import confusion_counts
from distprop.nn.leaf import LeafComputer, require_outputs
from distprop.nn.losses import LOSSES
from distprop.nn.metrics import build_metrics
from distprop.nn.network import build_network
from tests.nn.cases import DEEP, batch, classifier, rng, weights_of

STILL = [{"dense": 24}, "relu", {"dense": 16}, "gelu", {"dense": 4}]  # no dropout: rows do not depend on their place


def gradient(leaf: LeafComputer, x, y, weights=None, step=0, shard=0) -> tuple[np.ndarray, np.ndarray]:
    out = np.full(leaf.network.arena.size, np.nan, np.float32)
    tail = leaf.gradient(weights_of(leaf.network), x, y, weights, step, shard, out)
    return tail, out


def bits(pair) -> tuple[bytes, ...]:
    return tuple(array.tobytes() for array in pair)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 20), before=st.lists(st.integers(1, 25), max_size=3), step=st.integers(0, 2**40))
def test_what_was_computed_before_changes_no_bit(rows, before, step):
    used = classifier()
    for number, earlier in enumerate(before):
        gradient(used, *batch(earlier, seed=number), step=number)
        used.evaluate(weights_of(used.network), *batch(earlier + 3, seed=number))
    fresh = gradient(classifier(), *batch(rows), step=step)
    assert bits(gradient(used, *batch(rows), step=step)) == bits(fresh)
    assert bits(gradient(used, *batch(rows), step=step)) == bits(fresh)


def test_every_gradient_is_written_and_finite():
    tail, out = gradient(classifier(), *batch(8))
    assert np.isfinite(out).all()
    assert np.isfinite(tail).all()
    assert tail[1:3].tolist() == [8.0, 8.0]


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(2, 30), data=st.data())
def test_the_gradient_of_rows_is_the_sum_of_their_parts(rows, data):
    cut = data.draw(st.integers(1, rows - 1))
    leaf, (x, y) = classifier(STILL), batch(rows)
    weights = rng(4).uniform(0.5, 2.0, rows).astype(np.float32)
    whole_tail, whole = gradient(leaf, x, y, weights)
    parts = [gradient(leaf, x[part], y[part], weights[part]) for part in (slice(cut), slice(cut, None))]
    np.testing.assert_allclose(parts[0][0] + parts[1][0], whole_tail, rtol=1e-5)
    np.testing.assert_allclose(parts[0][1] + parts[1][1], whole, rtol=1e-4, atol=1e-5)


def test_dropout_is_keyed_by_seed_step_and_shard():
    x, y = batch(16)
    places = [(3, 0, 0), (4, 0, 0), (3, 1, 0), (3, 0, 1)]
    found = {bits(gradient(classifier(seed=seed), x, y, None, step, shard)) for seed, step, shard in places}
    assert len(found) == len(places)


def test_no_weights_are_weights_of_one_to_the_last_bit():
    x, y = batch(9)
    leaf = classifier()
    assert bits(gradient(leaf, x, y)) == bits(gradient(leaf, x, y, np.ones(9, np.float32)))


def test_rows_that_lie_apart_in_memory_give_the_same_bits():
    x, y = batch(12)
    wide = np.repeat(x, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    assert bits(gradient(classifier(), wide, y)) == bits(gradient(classifier(), x, y))


def test_a_steady_leaf_allocates_nothing_large():
    leaf = classifier([{"dense": 512}, "relu", {"dropout": 0.1}, {"dense": 512}, "gelu", {"dense": 4}], 256)
    (x, y), flat = batch(512, 256), weights_of(leaf.network)
    out = np.empty(flat.size, np.float32)
    peaks, kept = [], []
    tracemalloc.start()
    try:
        for step in range(7):
            tracemalloc.reset_peak()
            held, _ = tracemalloc.get_traced_memory()
            leaf.gradient(flat, x, y, None, step, 0, out)
            now, peak = tracemalloc.get_traced_memory()
            peaks.append(peak - held)
            kept.append(now - held)
    finally:
        tracemalloc.stop()
    # what a step allocates it allocates in each; the interpreter keeps something for itself in one or another
    assert min(peaks[2:]) < 128 * 1024  # several small arrays at a time; one of the activations is 1 MB
    assert min(kept[2:]) < 4 * 1024


def test_an_evaluation_has_no_dropout_and_leaves_the_gradients_tail_in_front():
    leaf, (x, y) = classifier(DEEP), batch(20)
    flat = weights_of(leaf.network)
    assert bits([leaf.evaluate(flat, x, y)]) == bits([leaf.evaluate(flat, x, y)])
    values = leaf.layout.read(leaf.evaluate(flat, x, y))
    outputs = leaf.network.predict(flat, x)
    assert values["accuracy"] == pytest.approx(np.mean(outputs.argmax(axis=1) == y))
    shares = LOSSES["softmax_cross_entropy"].activation(outputs)
    assert values["loss"] == pytest.approx(-np.log(shares[np.arange(20), y]).mean(), rel=1e-5)


def test_without_dropout_an_evaluation_has_the_tail_of_the_gradient():
    leaf, (x, y) = classifier(STILL), batch(20)
    assert leaf.evaluate(weights_of(leaf.network), x, y).tobytes() == gradient(leaf, x, y)[0].tobytes()


def test_an_evaluation_carries_counts_behind():
    network = build_network(STILL, (9,))
    metrics = build_metrics(None, "classification")
    leaf = LeafComputer(network, LOSSES["softmax_cross_entropy"], metrics, 3, confusion_counts(4))
    (x, y), flat = batch(20), weights_of(network)
    tail = leaf.evaluate(flat, x, y)
    assert tail.shape == (leaf.evaluation_width,) == (leaf.tail_width + 16,)
    table = leaf.layout.read_counts(tail)
    assert table.sum(axis=1).tolist() == np.bincount(y, minlength=4).tolist()
    assert np.trace(table) / 20 == pytest.approx(leaf.layout.read(tail)["accuracy"])
    assert leaf.layout.read_counts(gradient(leaf, x, y)[0]) is None


def test_added_tails_read_as_the_whole():
    network = build_network([{"dense": 2}], (9,))
    leaf = LeafComputer(network, LOSSES["mean_squared_error"], build_metrics(None, "regression"), 0)
    x, y, flat = batch(20)[0], rng(8).normal(size=(20, 2)).astype(np.float32), weights_of(network)
    parts = leaf.evaluate(flat, x[:7], y[:7]) + leaf.evaluate(flat, x[7:], y[7:])
    whole = leaf.layout.read(leaf.evaluate(flat, x, y))
    assert leaf.layout.read(parts) == pytest.approx(whole, rel=1e-5)
    assert set(whole) == {"loss", "mae", "rmse", "r2"}
    assert whole["loss"] == pytest.approx(whole["rmse"] ** 2, rel=1e-5)


def test_a_diverged_leaf_says_so_in_its_tail_and_nowhere_else():
    leaf, (x, y) = classifier(STILL), batch(6)
    flat = weights_of(leaf.network) * np.float32(1e30)
    tail = leaf.gradient(flat, x, y, None, 0, 0, np.empty_like(flat))
    assert not np.isfinite(tail[0])


@pytest.mark.parametrize(
    ("layers", "loss", "classes", "said"),
    [
        ([{"dense": 3}], "softmax_cross_entropy", 10, r"layer 0.dense gives rows of shape \(3,\)[\s\S]*\(10,\)"),
        ([{"dense": 2}], "binary_cross_entropy", 2, r"\(2,\)[\s\S]*\(1,\)[\s\S]*dense: 1"),
        ([{"dense": 3}], "mean_squared_error", 1, r"\(3,\)[\s\S]*1 values"),
        ([{"dense": 3}, "softmax"], "softmax_cross_entropy", 3, "leave the last `softmax` out"),
        (["relu"], "softmax_cross_entropy", None, r"layer 0.relu gives rows of shape \(4, 4\)"),
    ],
)
def test_a_network_that_does_not_end_as_the_loss_needs_is_refused(layers, loss, classes, said):
    shape = (4, 4) if layers == ["relu"] else (4,)
    with pytest.raises(ShapeError, match=said):
        require_outputs(build_network(layers, shape), LOSSES[loss], classes)
