"""What the machines say to each other, and what they ask of those who run them.

A message may arrive late, twice, out of order, or never; every one carries its attempt, and whatever it says holds
whenever it is heard. Handles and reports are opaque here: arrays, file names, errors. What is said at every step is a
NamedTuple: it is made at a third of the price.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from distprop.protocol.course import Course, Round
from distprop.protocol.plan import Plan
from distprop.protocol.tree import Node, Sum


class Address(NamedTuple):
    """Who a message is for."""

    role: Literal["coordinator", "server", "worker"]
    number: int = 0


COORDINATOR = Address("coordinator")

# ---- from the coordinator -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Begin an attempt: take the state of `version` from `source` and wait for a plan."""

    attempt: int
    course: Course
    first: Round
    servers: int
    source: Any  # None: the initial weights; else a checkpoint
    factor: float = 1.0
    pieces: int = 1  # slices a server


@dataclass(frozen=True, slots=True)
class Assign:
    """A plan is in force. Servers hand it on to their workers."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from the evaluation at `version`; releases it."""

    attempt: int
    version: int
    stop: bool = False
    factor: float = 1.0  # of the learning rate, from here on
    save: bool = False


@dataclass(frozen=True, slots=True)
class Halt:
    """Save at `version` and go no further."""

    attempt: int
    version: int


@dataclass(frozen=True, slots=True)
class Heard:
    """Reports up to and including `round`, and of checkpoints at `saved`, have arrived; they need not be kept."""

    attempt: int
    round: Round
    saved: int = -1


# ---- between a server and its workers -------------------------------------------------------------------------------


class Begin(NamedTuple):
    """The weights of the round's version are there: compute."""

    attempt: int
    round: Round


class Contribute(NamedTuple):
    """Partial sums that a worker holds."""

    attempt: int
    round: Round
    worker: int
    parts: tuple[tuple[Node, Sum], ...]


@dataclass(frozen=True, slots=True)
class Early:
    """Of a partial sum that a worker still adds up, the tail and the slices from number `slice` on are there."""

    attempt: int
    round: Round
    worker: int
    node: Node
    handle: Sum
    slice: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker is ready on the host of `server`."""

    worker: int
    server: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker is lost."""

    worker: int
    server: int
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Somebody met an error that no retry can mend."""

    who: Address
    error: Exception


# ---- between servers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Push:
    """A host's partial sums, of one slice. Empty parts still say that the host has reached the round."""

    attempt: int
    round: Round
    server: int
    slice: int
    parts: tuple[tuple[Node, Sum], ...]


@dataclass(frozen=True, slots=True)
class Norms:
    """The block sums of squares of a slice's mean gradient."""

    attempt: int
    round: Round
    slice: int
    sums: Any


@dataclass(frozen=True, slots=True)
class Publish:
    """A slice of the weights of `version`, with the block sums of squares of the gradient that made it."""

    attempt: int
    version: int
    slice: int
    weights: Any
    sums: Any


# ---- to the coordinator ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """A server has the state it was told to take."""

    attempt: int
    server: int


class Gathered(NamedTuple):
    """A round is complete: an evaluation to be judged, or a training step that was committed."""

    attempt: int
    round: Round
    tail: Any
    sums: Any = None  # slice -> block sums of squares, of a training round
    time: float = 0.0  # when it was, where those who run the server have a clock


@dataclass(frozen=True, slots=True)
class Stands:
    """A server goes no further than `version`; or, where it is asked to halt earlier, has reached it already."""

    attempt: int
    server: int
    version: int
    halted: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """A server has written its slices of `version`, or says why not."""

    attempt: int
    server: int
    version: int
    files: Any
    why: str = ""


# ---- from those who run the machines --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: say again what may have been lost."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The user, or a listener, asks the job to end early."""


class Computed(NamedTuple):
    """`Compute` is done; the sum is in `slot`."""

    attempt: int
    round: Round
    node: Node
    handle: Sum


class Reduced(NamedTuple):
    """`Reduce` is done: the block sums of squares of the slice's mean gradient."""

    attempt: int
    round: Round
    slice: int
    sums: Any


class Updated(NamedTuple):
    """`Update` is done: the slice of the next version is in its buffer.

    tail: the reduced tail. sums: the block sums of squares of the slice's mean gradient.
    """

    attempt: int
    round: Round
    slice: int
    weights: Any
    tail: Any
    sums: Any


@dataclass(frozen=True, slots=True)
class Tallied:
    """`Tally` is done: the reduced tail of an evaluation round."""

    attempt: int
    round: Round
    tail: Any


@dataclass(frozen=True, slots=True)
class Sealed:
    """`Seal` is done: the checkpoint is whole, or why not."""

    version: int
    why: str = ""
