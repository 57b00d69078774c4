"""A slice of the arena as its server keeps it: a reduced gradient, and optimizer state in two versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distprop.nn.arena import Arena, Block
from distprop.optim.groups import PLAIN, Group
from distprop.optim.optimizer import Optimizer
from distprop.runtime.memory import Vector
from distprop.runtime.table import Part, Table, parts_of

RUN = 131_072
"""Values at once: longer runs than fit in the first cache cost less than as many calls more (measured)."""


@dataclass(frozen=True)
class Run:
    """Whole blocks worked on together; `span` and `shifted` count from the slice's start, `blocks` from the run's.

    Where an update differs from view to view, all values of a run are of one view, number `view`; where it differs
    from group to group, of one group.
    """

    span: slice
    blocks: tuple[Block, ...]
    view: int = 0
    group: Group = PLAIN

    @property
    def shifted(self) -> tuple[Block, ...]:
        """The blocks, counted from the slice's start."""
        return tuple(Block(block.start + self.span.start, block.stop + self.span.start) for block in self.blocks)

    @cached_property
    def stops(self) -> tuple[int, ...]:
        """Where blocks end."""
        return tuple(block.stop for block in self.blocks)

    @property
    def size(self) -> int:
        """Values of the run."""
        return int(self.span.stop - self.span.start)


@dataclass(frozen=True, eq=False)
class Work:
    """A run, and the vectors that its update reads and writes, in the order of `Optimizer.names`, without u."""

    run: Run
    vectors: tuple[Vector, ...]


@dataclass(frozen=True)
class Slice:
    """Values span.start..span.stop of the arena; `buffers` are the weights of all of it, by the version's parity.

    Tables are worked on by `tables`, all else by `runs`.
    """

    span: slice
    runs: tuple[Run, ...]
    states: tuple[Mapping[str, Vector], Mapping[str, Vector]]
    buffers: tuple[Vector, Vector]
    parts: tuple[Part, ...] = ()

    @classmethod
    def make(
        cls,
        arena: Arena,
        chosen: range,
        optimizer: Optimizer,
        groups: Sequence[Group],
        buffers: tuple[Vector, Vector],
    ) -> "Slice":
        """The slice of the `chosen` blocks, its state all zeros."""
        span = slice_of(arena.blocks, chosen)
        size = span.stop - span.start
        first, second = ({name: np.zeros(size, np.float32) for name in optimizer.state_names} for _ in range(2))
        parts = parts_of(arena, chosen, groups)
        dense = range(chosen.start, chosen.stop - sum(len(part.blocks) for part in parts))
        runs = runs_of(arena, dense, groups, layerwise=optimizer.trust is not None)
        return cls(span, runs, (first, second), buffers, parts)

    @cached_property
    def gradient(self) -> Vector:
        """The whole reduced gradient, for updates that wait for its norm; other updates never have one."""
        return np.empty(sum(run.size for run in self.runs), np.float32)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The parts of tables, with their state."""
        return tuple(self._table(part) for part in self.parts)

    def _table(self, part: Part) -> Table:
        start = self.span.start
        first, second = ({name: part.of(values, start) for name, values in state.items()} for state in self.states)
        state = {name: (first[name], second[name]) for name in first}
        return Table((part.of(self.buffers[0]), part.of(self.buffers[1])), state)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, counted from the slice's start."""
        dense = tuple(block for run in self.runs for block in run.shifted)
        start = self.span.start
        rows = (Block(block.start - start, block.stop - start) for part in self.parts for block in part.blocks)
        return (*dense, *rows)

    @cached_property
    def _work(self) -> tuple[tuple[Work, ...], tuple[Work, ...]]:
        first, second = (tuple(self._lend(run, parity) for run in self.runs) for parity in range(2))
        return first, second

    def work(self, version: int) -> tuple[Work, ...]:
        """All runs, with what their update from `version` on reads and writes."""
        return self._work[version % 2]

    def _lend(self, run: Run, parity: int) -> Work:
        weights, made = (self.buffers[at][self.span][run.span] for at in (parity, 1 - parity))
        old, new = (self.states[at] for at in (parity, 1 - parity))
        return Work(run, (weights, made, *(state[name][run.span] for name in old for state in (old, new))))

    def state(self, version: int) -> Mapping[str, Vector]:
        """The optimizer's state of `version`."""
        return self.states[version % 2]

    def restore(self, version: int, saved: Mapping[str, Vector]) -> None:
        """Take the state of `version` from a checkpoint."""
        for name, values in self.state(version).items():
            values[:] = saved[name]


def slice_of(blocks: Sequence[Block], chosen: range) -> slice:
    """The values that a run of blocks covers; empty where it is."""
    return slice(blocks[chosen[0]].start, blocks[chosen[-1]].stop) if chosen else slice(0, 0)


def runs_of(arena: Arena, chosen: range, groups: Sequence[Group], layerwise: bool) -> tuple[Run, ...]:
    """Consecutive blocks of one group, or of one view, joined to runs of at most RUN values."""
    blocks, views = arena.blocks, arena.block_views
    joined: list[list[int]] = []
    for block in chosen:
        last = joined[-1][0] if joined else block
        alike = groups[views[block]] == groups[views[last]] and not (layerwise and views[block] != views[last])
        if joined and alike and blocks[block].stop - blocks[last].start <= RUN:
            joined[-1].append(block)
        else:
            joined.append([block])
    base = slice_of(blocks, chosen).start
    return tuple(_run([blocks[i] for i in run], base, views[run[0]], groups[views[run[0]]]) for run in joined)


def _run(blocks: list[Block], base: int, view: int, group: Group) -> Run:
    start = blocks[0].start
    inner = tuple(Block(block.start - start, block.stop - start) for block in blocks)
    return Run(slice(start - base, blocks[-1].stop - base), inner, view, group)
