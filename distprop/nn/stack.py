"""Leaves computed together: their rows are stacked, and every leaf gets the bits that it would get alone.

What works on each row by itself runs over all of them at once, where that gives the same bits. What sums over rows
does so leaf by leaf; the sums are added by the tree over leaves, one parameter at a time, while they are in the cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from distprop.nn.arrays import Array
from distprop.nn.blas import add_product, adds_exactly
from distprop.nn.layer import Context, Part
from distprop.nn.trial import trial_numbers

Write = Callable[[slice, Array], Any]
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


def add_up(write: Write, out: Array, ctx: Context, add: Write | None = None) -> None:
    """Write into out the sum, by the tree over leaves, of what `write(rows, out)` gives for each leaf.

    add(rows, out): adds the same to what is in out, with the same bits, if there is a way.
    """
    if ctx.stack is None:
        write(slice(None), out)
    else:
        _add_up(ctx.stack.tree, (write, add), out, ctx, 0)


def _add_up(tree: Tree, ways: tuple[Write, Write | None], out: Array, ctx: Context, depth: int) -> None:
    write, add = ways
    if isinstance(tree, Part):
        write(tree.rows, out)
        return
    _add_up(tree[0], ways, out, ctx, depth)
    if add is not None and isinstance(tree[1], Part):
        add(tree[1].rows, out)
        return
    right = ctx.shared(f"leaves {depth}", out.shape)
    _add_up(tree[1], ways, right, ctx, depth + 1)
    np.add(out, right, out=out)


def add_up_products(x: Array, dy: Array, out: Array, ctx: Context) -> None:
    """Write into out the sum, by the tree over leaves, of each leaf's x^T dy.   x (N, D), dy (N, K), out (D, K)."""

    def write(rows: slice, to: Array) -> None:
        np.matmul(x[rows].T, dy[rows], out=to)

    def add(rows: slice, to: Array) -> None:
        add_product(x[rows], dy[rows], to)

    parts = ctx.stack.parts if ctx.stack else ()
    exactly = all(adds_exactly(x[part.rows], dy[part.rows]) for part in parts)
    add_up(write, out, ctx, add if exactly else None)


@lru_cache(256)
def _stacks_exactly(sizes: tuple[int, ...], shape: tuple[int, int], strides: tuple[int, ...], dtype: Any) -> bool:
    """Whether a product of stacked rows has the bits of the products of its parts: tried."""
    rows, width = sum(sizes), shape[1]
    x, W = trial_numbers((rows, shape[0])).astype(dtype), trial_numbers(shape).astype(dtype)
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
