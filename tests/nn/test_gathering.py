"""Rows behind the tails of evaluations: adding tails gathers them exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.nn.counts import confusion_counts
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import LOSSES
from distprop.nn.metrics import build_metrics
from distprop.nn.network import build_network
from tests.nn.cases import rng, weights_of

METRICS = ("accuracy", "roc_auc", "recall_per_class")


def computer(metrics=METRICS) -> LeafComputer:
    network = build_network([{"dense": 4}], (5,))
    return LeafComputer(
        network, LOSSES["softmax_cross_entropy"], build_metrics(metrics, "classification"), 0, confusion_counts(4)
    )


def evaluated(leaf, x, y, weights, cuts) -> np.ndarray:
    """The sum of the tails of parts, each with room for all rows."""
    flat, parts = weights_of(leaf.network), []
    for start, stop in zip([0, *cuts], [*cuts, len(x)], strict=True):
        tail = np.zeros(leaf.layout.room(len(x)))
        own = leaf.layout.rows(tail)[start:stop]
        of = None if weights is None else weights[start:stop]
        tail[: leaf.evaluation_width] = leaf.evaluate(flat, x[start:stop], y[start:stop], of, own)
        parts.append(tail)
    return np.sum(parts, axis=0)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(2, 20), weighted=st.booleans(), data=st.data())
def test_rows_of_parts_add_up_to_those_of_the_whole_to_the_last_bit(rows, weighted, data):
    leaf, draw = computer(), rng(rows)
    x, y = draw.normal(size=(rows, 5)).astype(np.float32), draw.integers(0, 4, rows)
    weights = draw.uniform(0.5, 2.0, rows).astype(np.float32) if weighted else None
    cuts = sorted(data.draw(st.sets(st.integers(1, rows - 1), max_size=3)))
    scored = leaf.layout.scored(evaluated(leaf, x, y, weights, cuts))
    outputs = np.concatenate(
        [leaf.network.predict(weights_of(leaf.network), part) for part in np.split(x, cuts)]
    )  # of the same shapes: products of others may differ in bits
    assert scored.outputs.tobytes() == outputs.astype(np.float64).tobytes()
    assert scored.targets.tolist() == y.tolist()
    assert scored.weights.tolist() == (weights.tolist() if weighted else [1.0] * rows)


def test_metrics_of_rows_are_read_where_rows_are_there():
    leaf, draw = computer(), rng()
    x, y = draw.normal(size=(40, 5)).astype(np.float32), draw.integers(0, 4, 40)
    tail = evaluated(leaf, x, y, None, [7])
    found = leaf.layout.read(tail)
    reference = pytest.importorskip("sklearn.metrics")
    raw = leaf.network.predict(weights_of(leaf.network), x).astype(np.float64)
    shares = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y, shares, multi_class="ovr"), rel=1e-12)
    assert set(found) == {"loss", "accuracy", "roc_auc", *(f"recall_{place}" for place in range(4))}
    assert set(leaf.layout.read(tail[: leaf.tail_width])) == set(found) - {"roc_auc"}


def test_nothing_is_gathered_where_no_metric_needs_it():
    leaf = computer(("accuracy", "f1"))
    assert leaf.layout.row_width == 0
    assert leaf.layout.room(1000) == leaf.evaluation_width
    assert computer().layout.room(1000) == computer().evaluation_width + 6000
