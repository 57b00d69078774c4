"""The leaves of one worker, computed together where that was tried and gave the same bits."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from distprop import philox
from distprop.nn.arithmetic import computing
from distprop.nn.arrays import Array
from distprop.nn.layer import Part, Place
from distprop.nn.leaf import LeafComputer, Progress
from distprop.nn.network import Pass
from distprop.nn.stack import Stack, Tree
from distprop.nn.tail import Tail
from distprop.nn.trial import TRIAL_PURPOSE
from distprop.nn.workspace import Workspace

ROWS = 1024
"""Rows that are stacked at most: activations of more of them would leave the cache."""
FAMILIAR = 3
"""How often leaves of some sizes must come before stacking them is tried: the last ones of an epoch are rare."""


class Rows(NamedTuple):
    """The rows of one leaf.   x (N, *input_shape), y: N targets, weights (N,) or None: ones."""

    x: Array
    y: Array
    weights: Array | None
    shard: int


Leaves = Any
"""Rows, or a pair (Leaves, Leaves) whose gradients are added left + right."""


class Together:
    """Computes the sum of several leaves' gradients. Law: the bits are those of the leaves, added by the tree."""

    def __init__(self, computer: LeafComputer) -> None:
        self._computer = computer
        # Micro-batches are there to save memory, which stacked leaves need more of.
        self._able = computer.micro_batch is None and all(stage.layer.stacks for stage in computer.network.stages)
        self._seen: Counter[Any] = Counter()
        self._proven: dict[Any, bool] = {}

    def takes(self, sizes: Any, flat: Array) -> bool:
        """Whether leaves of these sizes, a tree of numbers of rows, are to be computed together.

        The first few times they are not; then it is tried once, with the weights flat (P,) and random rows, and where
        a bit differs they never are.
        """
        if not self._able or _total(sizes) > ROWS:
            return False
        self._seen[sizes] += 1
        if sizes not in self._proven and self._seen[sizes] > FAMILIAR:
            self._proven[sizes] = _Trial(self._computer, sizes).succeeds(flat)
        return self._proven.get(sizes, False)

    def gradient(self, flat: Array, leaves: Leaves, step: int, out: Array, progress: Progress | None = None) -> Tail:
        """Write the sum of the leaves' gradients into out (P,) and return that of their tails (tail_width,).

        As `LeafComputer.gradient` of each, added by the tree.
        """
        computer, listed = self._computer, _listed(leaves)
        x, tree = self._stack([leaf.x for leaf in listed]), _place(leaves, computer.seed, step, 0)[0]
        stack = Stack(tree)
        run = Pass(computer.workspace, training=True, stack=stack, written=progress.written if progress else None)
        with computing():
            outputs, backward = computer.network.forward(flat, x, run)
            dout = computer.workspace.buffer(("dout",), outputs.shape, outputs.dtype)
            tails = [
                self._tail(outputs[part.rows], leaf, dout[part.rows])
                for part, leaf in zip(stack.parts, listed, strict=True)
            ]
            tail = _added(leaves, iter(tails))
            if progress:
                progress.measured(tail)
            backward(dout, out)
        return tail

    def _tail(self, outputs: Array, leaf: Rows, dout: Array) -> Tail:
        computer, tail = self._computer, np.empty(self._computer.tail_width)
        value = computer.loss.value_and_gradient(outputs, leaf.y, leaf.weights, dout)
        computer.layout.write(tail, value, computer.measured(outputs, leaf.y, leaf.weights))
        return tail

    def _stack(self, rows: Sequence[Array]) -> Array:
        shape = (sum(map(len, rows)), *rows[0].shape[1:])
        return np.concatenate(rows, out=self._computer.workspace.buffer(("stacked",), shape, rows[0].dtype))


class _Trial:
    """Random rows of leaves, and the bits of a pass over them; in memory that is given back."""

    def __init__(self, computer: LeafComputer, sizes: Any) -> None:
        self.network = computer.network
        self.tree = _place_sizes(sizes, computer.seed, 0)[0]
        self.stack = Stack(self.tree)
        self.x = _draw((_total(sizes), *self.network.input_shape), 1)
        self.dy = _draw((_total(sizes), *self.network.output_shape), 2)

    def succeeds(self, flat: Array) -> bool:
        """Whether outputs and gradients have the bits of leaves that are computed alone."""
        return self._apart(flat) == self._stacked(flat)

    def _stacked(self, flat: Array) -> tuple[bytes, bytes]:
        gradient = np.empty_like(flat)
        y = self._pass(flat, slice(None), Pass(Workspace(), training=True, stack=self.stack), gradient)
        return y, gradient.tobytes()

    def _apart(self, flat: Array) -> tuple[bytes, bytes]:
        gradient = np.empty_like(flat)
        return self._add_up(self.tree, flat, gradient), gradient.tobytes()

    def _add_up(self, tree: Tree, flat: Array, out: Array) -> bytes:
        if isinstance(tree, Part):
            return self._pass(flat, tree.rows, Pass(Workspace(), training=True, place=tree.place), out)
        right = np.empty_like(out)
        outputs = self._add_up(tree[0], flat, out) + self._add_up(tree[1], flat, right)
        np.add(out, right, out=out)
        return outputs

    def _pass(self, flat: Array, rows: slice, run: Pass, out: Array) -> bytes:
        with computing():
            y, backward = self.network.forward(flat, self.x[rows], run)
            outputs = y.tobytes()
            backward(self.dy[rows].copy(), out)
        return outputs


def each(change: Callable[[Any], Any], tree: Any) -> Any:
    """A tree with every leaf changed, left to right; leaves are whatever is no pair."""
    if type(tree) is tuple:
        return each(change, tree[0]), each(change, tree[1])
    return change(tree)


def _draw(shape: tuple[int, ...], number: int) -> Array:
    draws = philox.uniform(philox.bits(0, TRIAL_PURPOSE, (number, 0, 0), int(np.prod(shape))))
    return np.ascontiguousarray(2.0 * draws - 1.0, np.float32).reshape(shape)


def _total(sizes: Any) -> int:
    return sizes if isinstance(sizes, int) else _total(sizes[0]) + _total(sizes[1])


def _listed(leaves: Leaves) -> list[Rows]:
    return [leaves] if isinstance(leaves, Rows) else _listed(leaves[0]) + _listed(leaves[1])


def _place(leaves: Leaves, seed: int, step: int, start: int) -> tuple[Tree, int]:
    """The parts of leaves whose rows begin at `start`, and where they end."""
    if isinstance(leaves, Rows):
        stop = start + len(leaves.x)
        return Part(slice(start, stop), Place(seed, step, leaves.shard)), stop
    left, middle = _place(leaves[0], seed, step, start)
    right, stop = _place(leaves[1], seed, step, middle)
    return (left, right), stop


def _place_sizes(sizes: Any, seed: int, start: int) -> tuple[Tree, int]:
    """As `_place`, of rows that are only counted."""
    if isinstance(sizes, int):
        return Part(slice(start, start + sizes), Place(seed, 0, start)), start + sizes
    left, middle = _place_sizes(sizes[0], seed, start)
    right, stop = _place_sizes(sizes[1], seed, middle)
    return (left, right), stop


def _added(leaves: Leaves, tails: Any) -> Tail:
    if isinstance(leaves, Rows):
        tail: Tail = next(tails)
        return tail
    return _added(leaves[0], tails) + _added(leaves[1], tails)
