"""A slice of the arena as its server keeps it: a reduced gradient, and optimizer state in two versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distprop.nn.arena import Block
from distprop.optim.optimizers import Optimizer
from distprop.runtime.memory import Vector

RUN = 32_768  # values at once: the vectors of an update, that long, stay in a core's cache


@dataclass(frozen=True)
class Run:
    """Whole blocks worked on together; `span` and `shifted` count from the slice's start, `blocks` from the run's."""

    span: slice
    blocks: tuple[Block, ...]

    @property
    def shifted(self) -> tuple[Block, ...]:
        """The blocks, counted from the slice's start."""
        return tuple(Block(block.start + self.span.start, block.stop + self.span.start) for block in self.blocks)

    @property
    def size(self) -> int:
        """Values of the run."""
        return int(self.span.stop - self.span.start)


@dataclass(frozen=True)
class Slice:
    """Values span.start..span.stop of the arena."""

    span: slice
    runs: tuple[Run, ...]
    states: tuple[Mapping[str, Vector], Mapping[str, Vector]]

    @classmethod
    def make(cls, blocks: Sequence[Block], chosen: range, optimizer: Optimizer) -> "Slice":
        """The slice of the `chosen` blocks, its state all zeros."""
        span = slice_of(blocks, chosen)
        size = span.stop - span.start
        first, second = ({name: np.zeros(size, np.float32) for name in optimizer.state_names} for _ in range(2))
        return cls(span, runs_of([blocks[i] for i in chosen]), (first, second))

    @cached_property
    def gradient(self) -> Vector:
        """The whole reduced gradient, for updates that wait for its norm; other updates never have one."""
        return np.empty(self.span.stop - self.span.start, np.float32)

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


def runs_of(blocks: Sequence[Block]) -> tuple[Run, ...]:
    """Consecutive blocks joined to runs of at most RUN values."""
    runs: list[list[Block]] = []
    for block in blocks:
        if runs and block.stop - runs[-1][0].start <= RUN:
            runs[-1].append(block)
        else:
            runs.append([block])
    return tuple(_run(run, blocks[0].start) for run in runs)


def _run(blocks: list[Block], base: int) -> Run:
    start = blocks[0].start
    inner = tuple(Block(block.start - start, block.stop - start) for block in blocks)
    return Run(slice(start - base, blocks[-1].stop - base), inner)
