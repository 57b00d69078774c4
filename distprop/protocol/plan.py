"""Who owns what: shards by workers, slices by servers. Issued by the coordinator alone, numbered, replaced whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise


@dataclass(frozen=True)
class Plan:
    """One assignment. A later number replaces an earlier one at once.

    A worker that is given a shard in mid-round computes its leaf again; a leaf that comes twice has the same bits.
    """

    number: int
    attempt: int
    owners: tuple[int, ...]  # shard -> worker
    homes: Mapping[int, int]  # worker -> server of its host
    slices: tuple[int, ...]  # slice -> server

    def shards_of(self, worker: int) -> tuple[int, ...]:
        """The shards that `worker` owns, ascending."""
        return self._owned.get(worker, ())

    @cached_property
    def _owned(self) -> Mapping[int, tuple[int, ...]]:
        """The shards of each worker that has any."""
        owned: dict[int, tuple[int, ...]] = {}
        for shard, owner in enumerate(self.owners):
            owned[owner] = (*owned.get(owner, ()), shard)
        return owned

    def mask_at(self, server: int) -> int:
        """The shards owned by workers on the host of `server`, as the bits of a number."""
        return self._masks_at.get(server, 0)

    @cached_property
    def _masks_at(self) -> Mapping[int, int]:
        masks: dict[int, int] = {}
        for shard, owner in enumerate(self.owners):
            home = self.homes[owner]
            masks[home] = masks.get(home, 0) | 1 << shard
        return masks

    def workers_at(self, server: int) -> tuple[int, ...]:
        """The workers on the host of `server`."""
        return tuple(worker for worker, home in self.homes.items() if home == server)

    def slices_of(self, server: int) -> tuple[int, ...]:
        """The slices that `server` owns."""
        return self._slices_of.get(server, ())

    @cached_property
    def _slices_of(self) -> Mapping[int, tuple[int, ...]]:
        """The slices of each server."""
        return {server: tuple(i for i, owner in enumerate(self.slices) if owner == server) for server in self.servers}

    @cached_property
    def servers(self) -> tuple[int, ...]:
        """All servers, ascending."""
        return tuple(sorted(set(self.slices)))


NO_PLAN = Plan(-1, -1, (), {}, ())
"""Before the first plan."""


def deal(shards: int, homes: Mapping[int, int]) -> tuple[int, ...]:
    """Owners of `shards` shards: a contiguous run a worker, hosts side by side, so that subtrees stay whole."""
    workers = sorted(homes, key=lambda worker: (homes[worker], worker))[:shards]
    return tuple(workers[shard * len(workers) // shards] for shard in range(shards))


def deal_orphans(owners: Sequence[int], homes: Mapping[int, int]) -> tuple[int, ...]:
    """`owners` with the shards of workers that are gone given to the least loaded of those that are left."""
    load = {worker: sum(owner == worker for owner in owners) for worker in homes}
    dealt = []
    for owner in owners:
        if owner not in load:
            owner = min(load, key=lambda worker: (load[worker], worker))
            load[owner] += 1
        dealt.append(owner)
    return tuple(dealt)


def spread(servers: int, pieces: int) -> tuple[int, ...]:
    """Slice -> server, `pieces` a server, in turns: each host has some to push as soon as the last layers are done."""
    return tuple(piece % servers for piece in range(servers * pieces))


def cut(sizes: Sequence[int], pieces: int) -> tuple[range, ...]:
    """Runs of blocks for `pieces` slices, balanced by values; `sizes` are the blocks' sizes in values."""
    total, ends, seen = sum(sizes), [0], 0
    for block, size in enumerate(sizes):
        seen += size
        while len(ends) < pieces and seen * pieces >= total * len(ends):
            ends.append(block + 1)
    ends += [len(sizes)] * (pieces + 1 - len(ends))
    return tuple(range(start, stop) for start, stop in pairwise(ends))
