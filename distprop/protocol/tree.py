"""The reduction tree: leaves are added along the aligned binary tree over shard indices, whoever holds them.

A node (level, place) covers the shards [place * 2**level, (place + 1) * 2**level). Its sum is left + right, or the one
that is there: absent shards are skipped, never added as zeros. So the value of a node depends on which shards are
present in the round and on nothing else.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

REMEMBERED = 1024
"""Shapes of sums that are kept: a job adds up the same nodes in the same way at almost every step."""


class Node(NamedTuple):
    """A node of the tree; level 0 are the shards themselves."""

    level: int
    place: int

    @property
    def shards(self) -> range:
        """The shards below this node."""
        return range(self.place << self.level, (self.place + 1) << self.level)

    @property
    def mask(self) -> int:
        """The same as the bits of a number."""
        return ((1 << (1 << self.level)) - 1) << (self.place << self.level)

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


Outline = Any
"""A Sum of which only the nodes are known: a Node, or a pair (Outline, Outline)."""


@lru_cache(REMEMBERED)
def root(shards: int) -> Node:
    """The node over all of `shards` shards."""
    return Node((shards - 1).bit_length(), 0)


def assemble(node: Node, parts: Parts, present: frozenset[int]) -> Sum | None:
    """The sum of `node` from `parts`; None while a present shard is missing, or where none is present."""
    outline = _outline(node, frozenset(parts), present)
    return None if outline is None else _fill(outline, parts)


def maximal(node: Node, parts: Parts, present: frozenset[int]) -> tuple[tuple[Node, Sum], ...]:
    """The largest complete nodes at or below `node`, left to right, with their sums."""
    outlines = _maximal_outlines(node, frozenset(parts), present)
    return tuple((found, _fill(outline, parts)) for found, outline in outlines)


def _fill(outline: Outline, parts: Parts) -> Sum:
    """An outline with the sums of its nodes in their places."""
    if type(outline) is Node:
        return parts[outline]
    return _fill(outline[0], parts), _fill(outline[1], parts)


@lru_cache(REMEMBERED)
def _outline(node: Node, there: frozenset[Node], present: frozenset[int]) -> Outline | None:
    return _drawn(node, there, mask_of(present))


def _drawn(node: Node, there: frozenset[Node], present: int) -> Outline | None:
    if node in there:
        return node
    if node.level == 0:
        return None
    found = [_drawn(child, there, present) for child in node.children if child.mask & present]
    if not found or None in found:
        return None
    return found[0] if len(found) == 1 else (found[0], found[1])


@lru_cache(REMEMBERED)
def _maximal_outlines(node: Node, there: frozenset[Node], present: frozenset[int]) -> tuple[tuple[Node, Outline], ...]:
    return tuple(_search(node, there, mask_of(present)))


def _search(node: Node, there: frozenset[Node], present: int) -> Iterator[tuple[Node, Outline]]:
    outline = _drawn(node, there, present)
    if outline is not None:
        yield node, outline
    elif node.level:
        for child in node.children:
            yield from _search(child, there, present)


@lru_cache(REMEMBERED)
def mask_of(shards: Collection[int]) -> int:
    """Shards as the bits of a number."""
    return sum(1 << shard for shard in shards)


@lru_cache(REMEMBERED)
def subtrees(owned: tuple[int, ...], shards: int, present: frozenset[int]) -> tuple[tuple[Node, Sum], ...]:
    """The maximal aligned subtrees of `owned` shards, as sums whose handles are shard indices."""
    leaves = {Node(0, shard): shard for shard in owned if shard in present}
    return maximal(root(shards), leaves, present)
