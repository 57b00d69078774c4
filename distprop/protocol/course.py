"""The course of a job: which rounds there are and which shards have a leaf in each. Pure functions of the version.

A round is one gathering of leaves. At version v comes, where one is due, the evaluation round, held until its
verdict is in; then the training round, which makes version v + 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

EVALUATE, TRAIN = 0, 1


class Round(NamedTuple):
    """What leaves are gathered for; rounds are ordered as they come."""

    version: int
    kind: int


NOWHERE = Round(-1, EVALUATE)
"""Before the first round."""


@dataclass(frozen=True)
class Course:
    """The rounds of one attempt.

    steps: per shard, the steps in an epoch in which it has rows; the epoch is as long as the longest.
    held_out: per shard, whether it has rows to evaluate on; empty where there is nothing to evaluate on.
    """

    steps: tuple[int, ...]
    last: int
    held_out: tuple[bool, ...] = ()
    evaluate_every: int = 0  # versions; 0: at the last version only
    save_every: int = 0  # versions; 0: at the last version only
    diagnose_every: int = 0  # versions; 0: never
    clips: bool = False  # updates wait for the norms of all slices
    keeps: bool = True  # whether checkpoints are written at all
    split: str = "valid"  # what is evaluated on

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.steps)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps until every shard ran out of rows."""
        return max(self.steps)

    def present(self, round_: Round) -> frozenset[int]:
        """The shards that have a leaf in `round_`."""
        if round_.kind == EVALUATE:
            return self._evaluated
        step = round_.version % self.steps_per_epoch
        return self._all if step < self._whole else frozenset(i for i, steps in enumerate(self.steps) if step < steps)

    @cached_property
    def _whole(self) -> int:
        """Steps of an epoch in which every shard has a leaf."""
        return min(self.steps)

    @cached_property
    def _all(self) -> frozenset[int]:
        return frozenset(range(self.shards))

    @cached_property
    def _evaluated(self) -> frozenset[int]:
        """The shards that have rows to evaluate on."""
        return frozenset(shard for shard, has_rows in enumerate(self.held_out) if has_rows)

    def evaluates(self, version: int) -> bool:
        """Whether version is held for an evaluation."""
        return bool(self._evaluated) and self._due(version, self.evaluate_every)

    def saves(self, version: int) -> bool:
        """Whether a checkpoint is written at version, whatever the verdict."""
        return self.keeps and self._due(version, self.save_every)

    def diagnoses(self, version: int) -> bool:
        """Whether the update that makes version + 1 is looked at layer by layer."""
        return self.diagnose_every > 0 and self._due(version + 1, self.diagnose_every)

    def uneventful_until(self, version: int, halt: int | None = None) -> int:
        """The first version after `version` at which something may be due beside a step of the same shards."""
        step = version % self.steps_per_epoch
        events = [self.last, version - step + min(steps for steps in self.steps if steps > step)]
        events += [version - version % every + every for every in (self.evaluate_every, self.save_every) if every]
        events += [halt] if halt is not None and halt > version else []
        return min(events)

    def first_round(self, version: int) -> Round:
        """The round that opens a version."""
        return Round(version, EVALUATE if self.evaluates(version) else TRAIN)

    def _due(self, version: int, every: int) -> bool:
        return version == self.last or (every > 0 and version > 0 and version % every == 0)
