"""What a machine asks of the one who runs it. Each is answered, at once or later, by the message that it names.

What is asked for at every step is a NamedTuple: it is made at a third of the price.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from distprop.protocol.course import Course, Round
from distprop.protocol.messages import Address, Gathered, Verdict
from distprop.protocol.tree import Node, Sum


class Send(NamedTuple):
    """Carry a message. Sums in a `Push` are added up, of its slice, on the way out."""

    to: Address
    message: Any


@dataclass(frozen=True, slots=True)
class Load:
    """Take the state of `version` from `source`. Answered by Opened."""

    attempt: int
    course: Course
    version: int
    servers: int
    source: Any
    pieces: int = 1


class Compute(NamedTuple):
    """Add up the leaves of a node, by the tree over shard indices, into `slot`. Answered by Computed.

    slices: how many there are, where it is worth to be told `Early` when the last of them are there; else 0.
    """

    attempt: int
    course: Course
    round: Round
    node: Node
    leaves: Sum
    slot: int
    slices: int = 0


class Reduce(NamedTuple):
    """Finish the tree of a slice and divide by the weight; its update must wait for the norms. Answered by Reduced."""

    attempt: int
    round: Round
    slice: int
    total: Sum


class Update(NamedTuple):
    """Make the next version of a slice. Answered by Updated.

    total: reduce it in the same pass; or None where it was reduced before, and `sums` (slice -> block sums of squares)
    are those of the whole gradient, by whose norm the update is clipped.
    """

    attempt: int
    round: Round
    slice: int
    factor: float
    total: Sum | None
    sums: Any


@dataclass(frozen=True, slots=True)
class Tally:
    """Add up the tails of an evaluation round. Answered by Tallied."""

    attempt: int
    round: Round
    total: Sum


@dataclass(frozen=True, slots=True)
class Place:
    """Put a slice that another server published into the host's buffer. Not answered: done when it returns."""

    version: int
    slice: int
    weights: Any


@dataclass(frozen=True, slots=True)
class Save:
    """Copy the server's slices of `version` now and write them in the background. Answered by Saved."""

    attempt: int
    version: int


# ---- of the coordinator ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judge:
    """Turn the metrics of an evaluation into a verdict. Answered by a Verdict."""

    gathered: Gathered


class Report(NamedTuple):
    """Tell the listeners: a step was committed, a verdict is in force, a worker joined or is gone."""

    what: Gathered | Verdict | Any


@dataclass(frozen=True, slots=True)
class Seal:
    """Write the manifest: all slices of `version` are on disk. Answered by Sealed."""

    version: int
    files: Any


@dataclass(frozen=True, slots=True)
class Replace:
    """Start a worker on the host of `server`, in the place of `worker`, which is gone."""

    worker: int
    server: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The job has ended at `version`."""

    version: int
    interrupted: bool = False
    error: Exception | None = None
