"""scikit-learn's MLP with the same weights, batches and plain SGD has the same loss curve."""

import numpy as np
import pytest

from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import LOSSES
from distprop.nn.network import build_network
from distprop.optim.optimizers import build_optimizer
from distprop.optim.transforms import Moment

STEPS, ROWS, RATE = 50, 32, 0.1


def batches(x, y):
    return [(x[start : start + ROWS], y[start : start + ROWS]) for start in range(0, STEPS * ROWS, ROWS)]


def our_curve(network, flat, loss, x, y) -> list[float]:
    leaf, optimizer = (
        LeafComputer(network, LOSSES[loss], (), seed=0),
        build_optimizer("sgd", {"learning_rate": RATE}, None, STEPS),
    )
    flat, other, g, curve = flat.copy(), np.empty_like(flat), np.empty_like(flat), []
    for step, (rows, targets) in enumerate(batches(x, y)):
        tail = leaf.gradient(flat, rows, targets, None, step, 0, g)
        g /= np.float32(tail[1])
        optimizer.update(flat, g, {}, other, {}, Moment(step, optimizer.rate(step)))
        flat, other = other, flat
        curve.append(leaf.layout.read(tail)["loss"])
    return curve


def their_curve(model, network, flat, x, y) -> list[float]:
    model.partial_fit(x[:ROWS], y[:ROWS], classes=np.unique(y))  # makes the arrays, which are then given our weights
    views = list(network.arena.views(flat).values())
    for array, view in zip(model.coefs_ + model.intercepts_, views[::2] + views[1::2], strict=True):
        array[...] = view
    return [model.partial_fit(rows, targets).loss_ for rows, targets in batches(x, y)]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("binary", [False, True])
def test_the_loss_curve_is_scikit_learns_over_fifty_steps(activation, binary):
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is the reference here, and not installed")
    neural = pytest.importorskip("sklearn.neural_network")
    x, y = datasets.load_digits(return_X_y=True)
    x, y = x / 16.0, (y > 4).astype(np.int64) if binary else y
    loss, width = ("binary_cross_entropy", 1) if binary else ("softmax_cross_entropy", 10)
    network = build_network([{"dense": 64}, activation, {"dense": 32}, activation, {"dense": width}], (64,))
    flat = np.empty(network.arena.size, np.float32)
    network.init(7, flat)
    model = neural.MLPClassifier(
        (64, 32), activation=activation, solver="sgd", momentum=0.0, nesterovs_momentum=False, alpha=0.0,
        learning_rate_init=RATE, batch_size=ROWS, shuffle=False,
    )  # fmt: skip
    ours, theirs = our_curve(network, flat, loss, x.astype(np.float32), y), their_curve(model, network, flat, x, y)
    assert theirs[-1] < 0.8 * theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
