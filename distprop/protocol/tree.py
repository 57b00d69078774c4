"""The reduction tree: leaves are added along the aligned binary tree over shard indices, whoever holds them.

A node (level, place) covers the shards [place * 2**level, (place + 1) * 2**level). Its sum is left + right, or the one
that is there: absent shards are skipped, never added as zeros. So the value of a node depends on which shards are
present in the round and on nothing else.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple


class Node(NamedTuple):
    """A node of the tree; level 0 are the shards themselves."""

    level: int
    place: int

    @property
    def shards(self) -> range:
        """The shards below this node."""
        return range(self.place << self.level, (self.place + 1) << self.level)

    @property
    def parent(self) -> "Node":
        """The node above."""
        return Node(self.level + 1, self.place >> 1)

    @property
    def children(self) -> tuple["Node", "Node"]:
        """The left and right node below."""
        return Node(self.level - 1, 2 * self.place), Node(self.level - 1, 2 * self.place + 1)


Handle = Any
"""Stands for a partial sum that somebody holds; never a tuple, opaque to the protocol."""

Sum = Any
"""A Handle, or a pair (Sum, Sum) that is to be added left + right."""

Parts = Mapping[Node, Sum]
"""Partial sums by the node that they are the sum of."""


def root(shards: int) -> Node:
    """The node over all of `shards` shards."""
    return Node((shards - 1).bit_length(), 0)


def assemble(node: Node, parts: Parts, present: Collection[int]) -> Sum | None:
    """The sum of `node` from `parts`; None while a present shard is missing, or where none is present."""
    if node in parts:
        return parts[node]
    if node.level == 0:
        return None
    sums = [assemble(child, parts, present) for child in node.children if _any_present(child, present)]
    if not sums or None in sums:
        return None
    return sums[0] if len(sums) == 1 else (sums[0], sums[1])


def maximal(node: Node, parts: Parts, present: Collection[int]) -> Iterator[tuple[Node, Sum]]:
    """The largest complete nodes at or below `node`, left to right, with their sums."""
    total = assemble(node, parts, present)
    if total is not None:
        yield node, total
    elif node.level:
        for child in node.children:
            yield from maximal(child, parts, present)


def covered(node: Node, parts: Parts, levels: int) -> bool:
    """Whether `node` or a node above it is among `parts`; `levels` is the level of the root."""
    while node.level <= levels:
        if node in parts:
            return True
        node = node.parent
    return False


def subtrees(owned: Collection[int], shards: int, present: Collection[int]) -> tuple[tuple[Node, Sum], ...]:
    """The maximal aligned subtrees of `owned` shards, as sums whose handles are shard indices."""
    leaves = {Node(0, shard): shard for shard in owned if shard in present}
    return tuple(maximal(root(shards), leaves, present))


def _any_present(node: Node, present: Collection[int]) -> bool:
    return node.place in present if node.level == 0 else any(shard in present for shard in node.shards)
