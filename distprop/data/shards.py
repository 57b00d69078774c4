"""Which rows a step takes from which shard: arithmetic alone, so every process agrees without talking."""

from dataclasses import dataclass
from functools import cached_property

from distprop.errors import DataError


@dataclass(frozen=True)
class DataPlan:
    """N rows over V shards, B rows a step over all shards.

    Shard v owns rows [vN/V, (v+1)N/V) and gives (v+1)B/V - vB/V rows a step (floor divisions). A shard's last leaf of
    an epoch is short; a shard that has run out gives none.
    """

    rows: int
    shards: int
    batch_size: int

    def bounds(self, shard: int) -> tuple[int, int]:
        """First row and end of a shard, in the order of the data."""
        return shard * self.rows // self.shards, (shard + 1) * self.rows // self.shards

    def shard_rows(self, shard: int) -> int:
        """Rows that a shard owns."""
        start, stop = self.bounds(shard)
        return stop - start

    def step_rows(self, shard: int) -> int:
        """Rows that a shard gives to a full step."""
        return (shard + 1) * self.batch_size // self.shards - shard * self.batch_size // self.shards

    def steps(self, shard: int) -> int:
        """Steps of an epoch in which a shard has a leaf."""
        return self._steps[shard]

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        return tuple(-(-self.shard_rows(shard) // self.step_rows(shard)) for shard in range(self.shards))

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch: as many as the shard that lasts longest has."""
        return max(self._steps)

    def leaf_bounds(self, shard: int, step: int) -> tuple[int, int]:
        """The run of a shard's epoch order that its leaf of `step` (counted from 0 in the epoch) takes."""
        size, rows = self.step_rows(shard), self.shard_rows(shard)
        return min(step * size, rows), min((step + 1) * size, rows)

    def leaf_rows(self, shard: int, step: int) -> int:
        """Rows of a leaf; 0 where the shard has run out."""
        start, stop = self.leaf_bounds(shard, step)
        return stop - start

    def leaves(self, step: int) -> tuple[int, ...]:
        """The shards that have a leaf in `step` of an epoch."""
        return tuple(shard for shard in range(self.shards) if self.leaf_rows(shard, step))

    def rows_in_step(self, step: int) -> int:
        """Rows of all leaves of `step` together."""
        return sum(self.leaf_rows(shard, step) for shard in range(self.shards))


def plan_data(rows: int, shards: int, batch_size: int) -> DataPlan:
    """A plan in which every shard has rows, and one in every step until it runs out. Raises DataError."""
    if shards < 1:
        raise DataError(f"data.shards is {shards}", "the rows must go somewhere", "use at least 1")
    if rows < shards:
        raise DataError(
            f"{rows} rows are too few for {shards} shards",
            "every shard needs a row of its own",
            f"set data.shards to {rows} or less",
        )
    if batch_size < shards:
        raise DataError(
            f"a batch of {batch_size} rows is too small for {shards} shards",
            "every shard gives at least one row a step",
            f"set data.batch_size to {shards} or more, or data.shards to {batch_size} or less",
        )
    return DataPlan(rows, shards, batch_size)
