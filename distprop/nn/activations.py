"""Activations: x -> y of the same shape, value by value."""

import math

import numpy as np

from distprop.nn.arrays import Array
from distprop.nn.elementwise import by_output, by_slope
from distprop.nn.layer import Layer
from distprop.nn.settings import require_number


def relu() -> Layer:
    """max(x, 0) (Nair & Hinton 2010, ICML). At 0 the derivative is 0."""

    def value(x: Array, y: Array, scratch: Array) -> None:  # noqa: ARG001 - needs no scratch
        np.maximum(x, 0, out=y)

    def times_slope(y: Array, dy: Array, scratch: Array) -> None:
        np.greater(y, 0, out=scratch)
        np.multiply(dy, scratch, out=dy)

    return by_output("relu", {}, value, times_slope, rectifies=True)


def leaky_relu(slope: float = 0.01) -> Layer:
    """Give x where x > 0, else slope * x (Maas et al. 2013, ICML workshop). 0 < slope < 1."""
    require_number("leaky_relu.slope", slope, 1e-6, 1.0)

    def value(x: Array, y: Array, scratch: Array) -> None:
        np.multiply(x, slope, out=scratch)
        np.maximum(x, scratch, out=y)

    def times_slope(y: Array, dy: Array, scratch: Array) -> None:
        np.greater(y, 0, out=scratch)
        np.maximum(scratch, slope, out=scratch)
        np.multiply(dy, scratch, out=dy)

    return by_output("leaky_relu", {"slope": slope}, value, times_slope, rectifies=True)


def elu(alpha: float = 1.0) -> Layer:
    """Give x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2016, arXiv:1511.07289)."""
    require_number("elu.alpha", alpha, 1e-6)

    def value(x: Array, y: Array, scratch: Array) -> None:
        np.minimum(x, 0, out=scratch)
        np.expm1(scratch, out=scratch)
        np.multiply(scratch, alpha, out=scratch)
        np.maximum(x, 0, out=y)
        np.add(y, scratch, out=y)  # one of the two is 0

    def times_slope(y: Array, dy: Array, scratch: Array) -> None:
        np.minimum(y, 0, out=scratch)
        np.add(scratch, alpha, out=scratch)  # alpha * exp(x) where x < 0
        np.copyto(scratch, 1, where=y > 0)
        np.multiply(dy, scratch, out=dy)

    return by_output("elu", {"alpha": alpha}, value, times_slope, rectifies=True)


def tanh() -> Layer:
    """The hyperbolic tangent."""

    def value(x: Array, y: Array, scratch: Array) -> None:  # noqa: ARG001
        np.tanh(x, out=y)

    def times_slope(y: Array, dy: Array, scratch: Array) -> None:
        np.multiply(y, y, out=scratch)
        np.subtract(1, scratch, out=scratch)
        np.multiply(dy, scratch, out=dy)

    return by_output("tanh", {}, value, times_slope)


def logistic(x: Array, y: Array) -> None:
    """Write y = 1 / (1 + exp(-x)), so that nothing overflows: (1 + tanh(x / 2)) / 2. y may be x."""
    np.multiply(x, 0.5, out=y)
    np.tanh(y, out=y)
    np.add(y, 1, out=y)
    np.multiply(y, 0.5, out=y)


def sigmoid() -> Layer:
    """1 / (1 + exp(-x))."""

    def value(x: Array, y: Array, scratch: Array) -> None:  # noqa: ARG001
        logistic(x, y)

    def times_slope(y: Array, dy: Array, scratch: Array) -> None:
        np.subtract(1, y, out=scratch)
        np.multiply(scratch, y, out=scratch)
        np.multiply(dy, scratch, out=dy)

    return by_output("sigmoid", {}, value, times_slope)


def softplus() -> Layer:
    """log(1 + exp(x)) (Dugas et al. 2000, NIPS), as max(x, 0) + log(1 + exp(-|x|)): nothing overflows."""

    def value(x: Array, y: Array, scratch: Array) -> None:
        np.absolute(x, out=scratch)
        np.negative(scratch, out=scratch)
        np.exp(scratch, out=scratch)
        np.log1p(scratch, out=scratch)
        np.maximum(x, 0, out=y)
        np.add(y, scratch, out=y)

    def times_slope(y: Array, dy: Array, scratch: Array) -> None:
        np.negative(y, out=scratch)
        np.expm1(scratch, out=scratch)  # exp(-y) - 1 = -sigmoid(x)
        np.multiply(dy, scratch, out=dy)
        np.negative(dy, out=dy)

    return by_output("softplus", {}, value, times_slope)


def silu() -> Layer:
    """Give x * sigmoid(x) (Elfwing et al. 2018, arXiv:1702.03118); also called swish."""

    def value_and_slope(x: Array, y: Array, slope: Array, scratch: Array) -> None:
        logistic(x, slope)
        np.multiply(x, slope, out=y)
        np.multiply(y, slope, out=scratch)
        np.add(slope, y, out=slope)
        np.subtract(slope, scratch, out=slope)  # s + x s (1 - s)

    return by_slope("silu", {}, value_and_slope, rectifies=True)


def gelu() -> Layer:
    """Give x times the normal distribution up to x, in the tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    y = x (1 + tanh(c (x + 0.044715 x^3))) / 2 with c = sqrt(2 / pi).
    """
    c, cubic = math.sqrt(2.0 / math.pi), 0.044715

    def value_and_slope(x: Array, y: Array, slope: Array, scratch: Array) -> None:
        np.multiply(x, x, out=slope)
        np.multiply(slope, c * cubic, out=scratch)
        np.add(scratch, c, out=scratch)
        np.multiply(scratch, x, out=scratch)
        np.tanh(scratch, out=scratch)  # t
        np.multiply(slope, 3 * c * cubic, out=slope)
        np.add(slope, c, out=slope)
        np.multiply(slope, x, out=slope)  # x times the derivative of tanh's argument
        np.multiply(x, 0.5, out=y)
        _finish_gelu(y, slope, scratch)

    return by_slope("gelu", {}, value_and_slope, rectifies=True)


def _finish_gelu(y: Array, slope: Array, t: Array) -> None:
    """y: x / 2 -> y.  slope: x u' -> (1 + t) / 2 + (1 - t^2) x u' / 2, as ((1 - t) x u' + 1) (1 + t) / 2."""
    np.subtract(1, t, out=t)
    np.multiply(slope, t, out=slope)
    np.add(slope, 1, out=slope)
    np.subtract(2, t, out=t)  # 1 + t
    np.multiply(y, t, out=y)
    np.multiply(t, 0.5, out=t)
    np.multiply(slope, t, out=slope)
