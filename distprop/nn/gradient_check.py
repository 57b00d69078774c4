"""Do the gradients belong to the values? Checked along random directions, in float64.

Two evaluations for each direction, whatever the number of parameters. A correct gradient gives about 1e-9, a wrong
one 1e-3 and more.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array, Shape
from distprop.nn.init import Draw
from distprop.nn.layer import Context, Layer, Place
from distprop.nn.loss import Loss
from distprop.nn.network import Network, Pass
from distprop.nn.workspace import Workspace

Exact = NDArray[np.float64]
Value = Callable[[Exact], float]

STEPS = (1e-4, 1e-5, 1e-6)  # large ones for rounding, small ones for kinks; a wrong gradient fails with all
PLACE = Place(seed=1, step=2, shard=3)  # any, but the same at each evaluation: dropout drops the same values


def directional_error(f: Value, grad: Exact, at: Exact, rng: np.random.Generator, eps: float = 1e-6) -> float:
    """Relative gap between grad.v and (f(at + eps v) - f(at - eps v)) / 2 eps, v a random unit vector."""
    v = rng.normal(size=at.shape)
    v /= np.linalg.norm(v)
    return _gap(f, grad, at, v, eps)


def check_network(
    network: Network, loss: Loss, x: Array, y: Array, rng: np.random.Generator, weights: Array | None = None
) -> float:
    """The worst relative error over all parameters' gradients, each along a direction of its own, and the input's.

    x (N, *input_shape), y: targets of N rows, weights (N,) or None. Weights of the network are drawn from rng.
    """
    flat = _random_weights(network, rng)
    x = _moved_apart(network, x.astype(np.float64), rng)

    def gradients(flat: Exact, x: Exact) -> tuple[float, Exact, Exact]:
        """The loss, and its gradients with respect to weights and input."""
        outputs, backward = network.forward(flat, x, Pass(Workspace(), True, PLACE, input_gradient=True))
        dout, g = np.empty_like(outputs), np.full_like(flat, np.nan)  # NaN: "not written" cannot hide
        value = loss.value_and_gradient(outputs, y, weights, dout)
        dx = backward(dout, g)
        assert dx is not None
        return value, g, dx

    _, g, dx = gradients(flat, x)
    worst = [0.0]
    if not network.layers[0].ids:
        worst = [_best_gap(lambda at: gradients(flat, at)[0], dx, x, _direction(x.shape, rng))]
    for slot in (slot for slot in network.arena.slots if not slot.follows):
        v = np.zeros_like(flat)
        v[slot.start : slot.stop] = _direction((slot.stop - slot.start,), rng)
        worst.append(_best_gap(lambda at: gradients(at, x)[0], g, flat, v))
    return _worst(worst)


def check_layer(layer: Layer, input_shape: Shape, rng: np.random.Generator, rows: int = 5) -> float:
    """The worst relative error of a layer's gradients, each parameter's and the input's, under a random sum of outputs.

    Inputs keep away from 0, where rectifiers have a kink; ids have no gradient to be checked.
    """
    output_shape, shapes = layer.shapes(input_shape)
    p = {name: np.empty(shape) for name, shape in shapes.items()}
    layer.init(p, {name: Draw(0, 0, number, False) for number, name in enumerate(shapes)})
    for view in p.values():
        view += 0.1 * rng.normal(size=view.shape)
    x = _input(layer, (rows, *input_shape), rng)
    share = rng.normal(size=(rows, *output_shape))

    def forward(p: dict[str, Exact], x: Exact) -> tuple[Array, Callable[..., Array | None]]:
        return layer.forward(p, x, Context(Workspace(), 0, np.dtype(np.float64), place=PLACE))

    g = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    dx = forward(p, x)[1](share.copy(), g)
    assert dx is not None
    worst = [0.0]
    if not layer.ids:
        worst = [_best_gap(lambda at: float(np.vdot(share, forward(p, at)[0])), dx, x, _direction(x.shape, rng))]
    for name in (name for name in shapes if name not in layer.statistics):

        def value(at: Exact, name: str = name) -> float:
            return float(np.vdot(share, forward({**p, name: at}, x)[0]))

        worst.append(_best_gap(value, g[name], p[name], _direction(p[name].shape, rng)))
    return _worst(worst)


def _input(layer: Layer, shape: Shape, rng: np.random.Generator) -> Exact:
    if layer.ids:
        return rng.integers(layer.ids, size=shape).astype(np.float64)
    x = rng.normal(size=shape)
    return x + 0.05 * np.sign(x)


def _gap(f: Value, grad: Exact, at: Exact, v: Exact, eps: float) -> float:
    numeric = (f(at + eps * v) - f(at - eps * v)) / (2 * eps)
    exact = float(np.vdot(grad, v))
    usual = float(np.linalg.norm(grad)) / math.sqrt(grad.size)  # of grad.v: a v across the gradient proves nothing
    return abs(numeric - exact) / max(1e-12, abs(numeric) + abs(exact), 0.01 * usual)


def _best_gap(f: Value, grad: Exact, at: Exact, v: Exact) -> float:
    return min(_gap(f, grad, at, v, eps) for eps in STEPS)


def _worst(gaps: list[float]) -> float:
    """The largest; NaN, which is worse than any, if there is one."""
    return float(np.max(gaps))


def _direction(shape: Shape, rng: np.random.Generator) -> Exact:
    v = rng.normal(size=shape)
    return v / np.linalg.norm(v)


def _moved_apart(network: Network, x: Exact, rng: np.random.Generator) -> Exact:
    """Input whose equal values differ: a pool whose largest value is there twice has a kink.

    Ids stay as they are, and so do values that a mask may look for.
    """
    if any(layer.ids or layer.kind == "mask" for layer in network.layers):
        return x
    return x + 0.01 * (1.0 + np.abs(x)) * rng.normal(size=x.shape)


def _random_weights(network: Network, rng: np.random.Generator) -> Exact:
    flat = np.empty(network.arena.size)
    network.init(int(rng.integers(2**32)), flat)
    return flat + 0.05 * rng.normal(size=flat.shape)  # biases, too, are then not 0
