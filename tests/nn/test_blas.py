"""Products that are added to what is there have the bits of products that are made first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.nn import blas
from tests.nn.cases import rng

needs_function = pytest.mark.skipif(blas._function() is None, reason="NumPy has another BLAS than that of its wheels")
SIZE = st.integers(60, 400)


def drawn(rows: int, step: int, width: int, number: int) -> np.ndarray:
    return rng(number).normal(size=(rows, step)).astype(np.float32)[:, :width]


@needs_function
@given(
    rows=st.one_of(st.integers(1, 64), st.just(700)),
    height=SIZE,
    width=SIZE,
    more=st.integers(0, 3),
    at=st.integers(0, 3),
)
@settings(deadline=None)
def test_what_is_added_exactly_has_the_bits_of_a_product_that_is_made_first(
    rows: int, height: int, width: int, more: int, at: int
) -> None:
    """Whatever the values, and wherever the sum lies."""
    x, dy = drawn(rows, height + more, height, 0), drawn(rows, width + more, width, 1)
    out = drawn(1, height * width + at, height * width + at, 2)[0, at:].reshape(height, width)
    if blas.adds_exactly(x, dy):
        expected = out + x.T @ dy
        blas.add_product(x, dy, out)
        assert out.tobytes() == expected.tobytes()


@needs_function
def test_leaves_of_some_dozens_of_rows_are_added_exactly() -> None:
    """Else nothing would be gained, and nobody would see it."""
    assert blas.adds_exactly(drawn(64, 784, 784, 0), drawn(64, 512, 512, 1))


def test_what_has_other_bits_is_not_added_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_product(x: np.ndarray, dy: np.ndarray, out: np.ndarray) -> None:
        out += x.T @ dy
        out[-1, -1] = np.nextafter(out[-1, -1], np.float32(np.inf))

    monkeypatch.setattr(blas, "_function", lambda: add_product)
    monkeypatch.setattr(blas, "add_product", add_product)
    assert not blas.adds_exactly(drawn(3, 128, 128, 0), drawn(3, 129, 129, 1))
    blas._tried.cache_clear()


@pytest.mark.parametrize("kind", ["float64", "columns first", "small", "another BLAS"])
def test_other_arrays_and_other_libraries_are_left_to_numpy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, dy = drawn(4, 200, 200, 0), drawn(4, 100, 100, 1)
    if kind == "float64":
        x, dy = x.astype(np.float64), dy.astype(np.float64)
    elif kind == "columns first":
        x = np.asfortranarray(x)
    elif kind == "small":
        dy = dy[:, :2]
    else:
        monkeypatch.setattr(blas, "_function", lambda: None)
    assert not blas.adds_exactly(x, dy)
