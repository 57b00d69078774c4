"""The product that NumPy's BLAS has and NumPy does not offer: one that is added to what is there.

For NumPy a sum of products is a product to memory of its own, and another pass over both.
"""

import ctypes
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module

import numpy as np

from distprop.nn.arrays import Array
from distprop.nn.trial import trial_numbers

NAMES = ("scipy_cblas_sgemm64_", "cblas_sgemm64_")
"""What the function may be called. Both names say that its whole numbers have 64 bits."""
LARGE = 16_384
"""Values of a sum from which on it is worth a call of our own."""

ROWS_FIRST, PLAIN, TRANSPOSED = 101, 111, 112


def adds_exactly(x: Array, dy: Array) -> bool:
    """Whether `add_product` of arrays like these has the bits of a product that is made first and added then.

    It is tried once for each shape. Not where NumPy has another BLAS, or the values are not of float32; and not for
    small sums, which gain nothing, and of which a trial tells little.
    """
    able = x.dtype == dy.dtype == np.float32 and x.strides[1] == dy.strides[1] == x.itemsize
    worth = x.shape[1] * dy.shape[1] >= LARGE
    return bool(able) and worth and _function() is not None and _tried(*_form(x), *_form(dy))


def add_product(x: Array, dy: Array, out: Array) -> None:
    """Make out <- out + x^T dy, where `adds_exactly`.   x (N, D), dy (N, K), out (D, K)."""
    sgemm, ((rows, height), long), ((_, width), wide) = _function(), _form(x), _form(dy)
    assert sgemm is not None, "asked for where it adds exactly"
    layout, factors = (ROWS_FIRST, TRANSPOSED, PLAIN), (x.ctypes.data, long, dy.ctypes.data, wide)
    sgemm(*layout, height, width, rows, 1.0, *factors, 1.0, out.ctypes.data, out.strides[0] // out.itemsize)


@cache
def _function() -> Callable[..., None] | None:
    """The function, from the library that NumPy itself calls."""
    library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)  # and what that is linked to
    found = next((getattr(library, name) for name in NAMES if hasattr(library, name)), None)
    if found is not None:
        number, at, value = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
        found.argtypes = [*[ctypes.c_int] * 3, *[number] * 3, value, *[at, number] * 2, value, at, number]
        found.restype = None
    return found


Form = tuple[tuple[int, ...], int]
"""An array's shape, and from each row to the next so many values."""


def _form(values: Array) -> Form:
    return values.shape, values.strides[0] // values.itemsize


@lru_cache(256)
def _tried(x_shape: tuple[int, ...], x_step: int, dy_shape: tuple[int, ...], dy_step: int) -> bool:
    x, dy = _like(x_shape, x_step, 0), _like(dy_shape, dy_step, 1)
    out = np.resize(trial_numbers((1, LARGE), 2).astype(np.float32), (x_shape[1], dy_shape[1]))
    expected = out + np.matmul(x.T, dy)
    add_product(x, dy, out)
    return bool(out.tobytes() == expected.tobytes())


def _like(shape: tuple[int, ...], step: int, number: int) -> Array:
    return trial_numbers((shape[0], step), number).astype(np.float32)[:, : shape[1]]
