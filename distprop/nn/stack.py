"""Leaves computed together: their rows are stacked, and every leaf gets the bits that it would get alone.

What works on each row by itself runs over all of them at once, where that gives the same bits. What sums over rows
does so leaf by leaf; the sums are added by the tree over leaves, one parameter at a time, while they are in the cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from distprop import philox
from distprop.nn.arrays import Array
from distprop.nn.layer import Context, Part

TRIAL_PURPOSE = 7  # the purpose of these random words, see philox.bits

Tree = Any
"""A Part, or a pair (Tree, Tree) whose sums are added left + right."""


@dataclass(frozen=True)
class Stack:
    """The leaves of a pass: where their rows are, and how their sums are added."""

    tree: Tree

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The leaves in the order of their rows."""
        return parts_of(self.tree)


def parts_of(tree: Tree) -> tuple[Part, ...]:
    """The parts of a tree, left to right."""
    return (tree,) if isinstance(tree, Part) else parts_of(tree[0]) + parts_of(tree[1])


def products(x: Array, W: Array, out: Array, ctx: Context) -> Array:
    """Write x W into out, for the rows of each leaf as if they were alone.   x (N, D), W (D, K), out (N, K)."""
    stack: Stack | None = ctx.stack
    if stack is None or _stacks_exactly(tuple(part.size for part in stack.parts), W.shape, W.strides, W.dtype):
        return np.matmul(x, W, out=out)
    for part in stack.parts:
        np.matmul(x[part.rows], W, out=out[part.rows])
    return out


def add_up(write: Callable[[slice, Array], Any], out: Array, ctx: Context) -> None:
    """Write into out the sum, by the tree over leaves, of what `write(rows, out)` gives for each leaf."""
    if ctx.stack is None:
        write(slice(None), out)
    else:
        _add_up(ctx.stack.tree, write, out, ctx, 0)


def _add_up(tree: Tree, write: Callable[[slice, Array], Any], out: Array, ctx: Context, depth: int) -> None:
    if isinstance(tree, Part):
        write(tree.rows, out)
        return
    _add_up(tree[0], write, out, ctx, depth)
    right = ctx.shared(f"leaves {depth}", out.shape)
    _add_up(tree[1], write, right, ctx, depth + 1)
    np.add(out, right, out=out)


@lru_cache(256)
def _stacks_exactly(sizes: tuple[int, ...], shape: tuple[int, int], strides: tuple[int, ...], dtype: Any) -> bool:
    """Whether a product of stacked rows has the bits of the products of its parts: tried, with random numbers.

    Which sum a kernel computes depends on shapes, not on values, so one trial tells.
    """
    rows, width = sum(sizes), shape[1]
    x, W = _normals((rows, shape[0]), dtype), _normals(shape, dtype)
    if strides[0] < strides[1]:
        W = np.ascontiguousarray(W.T).T
    whole, start = np.matmul(x, W, out=np.empty((rows, width), dtype)), 0
    for size in sizes:
        rows_of_part = slice(start, start + size)
        start += size
        alone = np.matmul(x[rows_of_part], W, out=np.empty((size, width), dtype))
        if alone.tobytes() != whole[rows_of_part].tobytes():
            return False
    return True


def _normals(shape: tuple[int, int], dtype: Any) -> Array:
    """Numbers of both signs and of many magnitudes, the same everywhere."""
    draws = philox.uniform(philox.bits(0, TRIAL_PURPOSE, (0, 0, 0), shape[0] * shape[1]))
    return np.ascontiguousarray((np.tan(3.0 * draws - 1.5)).reshape(shape), dtype)
