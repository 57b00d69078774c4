"""What a server knows: the state of its machine, and how it speaks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distprop.protocol import messages as say
from distprop.protocol.course import NOWHERE, Course, Round
from distprop.protocol.effects import Send
from distprop.protocol.messages import Address
from distprop.protocol.plan import NO_PLAN, Plan
from distprop.protocol.tree import Node, Parts, Sum

Actions = tuple[Any, ...]
"""Messages to be sent and effects to be performed, in order."""


@dataclass(frozen=True)
class Gathering:
    """What a server has of the current round."""

    present: frozenset[int] = frozenset()  # shards that have a leaf in it
    parts: Parts = field(default_factory=dict)  # from its own workers
    held: int = 0  # the shards that they cover, as bits
    early: Mapping[Node, tuple[Sum, int]] = field(default_factory=dict)  # with the first slice of each that is there
    pushed: Mapping[int, tuple[tuple[Node, Sum], ...]] = field(
        default_factory=dict
    )  # slice -> what was last sent of it
    pushed_of: tuple[Parts, Any] | None = None  # the parts and early parts that it was made of
    asked: frozenset[tuple[type, int]] = frozenset()  # effects asked for: (Reduce | Update | Tally, slice)
    norms: Mapping[int, Any] = field(default_factory=dict)  # slice -> block sums of squares, where updates are clipped
    tail: Any = None  # of the whole round, once an own slice is made
    published: Mapping[int, say.Publish] = field(default_factory=dict)  # slices of the next version that are here


EMPTY = Gathering()
"""Nothing yet."""


@dataclass(frozen=True)
class ServerState:
    """What a server knows."""

    me: int
    workers: frozenset[int] = frozenset()  # joined on this host
    lost: Mapping[int, say.Gone] = field(default_factory=dict)  # kept: word that they joined may come late
    opening: say.Open | None = None
    opened: bool = False
    plan: Plan = NO_PLAN
    round: Round = NOWHERE
    stands: bool = False  # goes no further than this version, for now
    factor: float = 1.0
    now: Gathering = EMPTY
    inbox: Mapping[tuple[Round, int], Parts] = field(default_factory=dict)  # (round, own slice) -> pushed parts
    peers: Mapping[int, Round] = field(default_factory=dict)  # server -> the furthest round it is known to have reached
    last_published: tuple[say.Publish, ...] = ()  # own slices of this version, in case a peer missed them
    verdict: say.Verdict | None = None
    halt: int | None = None
    reports: tuple[say.Gathered, ...] = ()  # not yet heard by the coordinator
    saves: tuple[say.Saved, ...] = ()

    @property
    def attempt(self) -> int:
        """The attempt this server is in; -1 before the first."""
        return self.opening.attempt if self.opening else -1

    @property
    def course(self) -> Course:
        """The course of the attempt."""
        assert self.opening is not None, "no course before Open"
        return self.opening.course

    @property
    def slices(self) -> tuple[int, ...]:
        """The slices that this server owns."""
        return self.plan.slices_of(self.me)


Step = tuple[ServerState, Actions]


def to_workers(state: ServerState, message: Any) -> Actions:
    """A message to all workers of this host."""
    return tuple(Send(Address("worker", worker), message) for worker in sorted(state.workers))


def to_servers(state: ServerState, message: Any) -> Actions:
    """A message to all other servers."""
    return tuple(Send(Address("server", server), message) for server in state.plan.servers if server != state.me)


def then(transition: Callable[[ServerState, Any], Step], state: ServerState, argument: Any, before: Actions) -> Step:
    """`transition`, with its actions behind those of `before`."""
    state, actions = transition(state, argument)
    return state, (*before, *actions)
