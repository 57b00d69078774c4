"""A job of toy arithmetic for the protocol: numbers whose sum depends on how it was bracketed.

Every mistake of the protocol (a leaf lost, taken twice, added in another order, computed from torn weights) changes
the final weights, as it would real ones, at a thousandth of the cost.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from distprop.protocol import coordinator, effects, messages, rhythm, server, worker
from distprop.protocol.course import EVALUATE, TRAIN, Course, Round
from distprop.protocol.effects import Send
from distprop.protocol.messages import COORDINATOR, Address
from distprop.protocol.plan import cut
from distprop.runtime.role import Role
from distprop.runtime.scheduler import Fate, Scheduler

PRIME = 2**61 - 1
BLOCKS = 5


def add(left: int, right: int) -> int:
    """Neither associative nor commutative."""
    return (31 * left + 17 * right + 7) % PRIME


def leaf(round_: Round, shard: int, weights: tuple[int, ...]) -> int:
    return hash((round_.version, round_.kind, shard, weights)) % PRIME


@dataclass
class Host:
    """The shared memory of a host: two buffers of (version, value) a block, and what its workers hold."""

    slices: tuple[range, ...]
    buffers: list[list[tuple[int, int]]] = field(default_factory=lambda: [[(-1, 0)] * BLOCKS for _ in range(2)])
    slots: dict[tuple[int, int], int] = field(default_factory=dict)

    def weights(self, version: int) -> tuple[int, ...] | None:
        buffer = self.buffers[version % 2]
        return tuple(value for _, value in buffer) if all(held == version for held, _ in buffer) else None


@dataclass(frozen=True)
class Slot:
    worker: int
    slot: int


@dataclass(frozen=True)
class Begun:
    """A sum of which only the slices from number `first` on are there."""

    value: int
    first: int


class WorkerHands:
    def __init__(self, me: int, host: Host) -> None:
        self.me, self.host = me, host
        self.tell: Any = None  # hears of sums that are not whole yet; whether the worker dies of it

    def pack(self, send: Send) -> Send:
        return send

    def perform(self, effect: effects.Compute) -> messages.Computed | None:
        weights = self.host.weights(effect.round.version) or (-1,)  # torn: obsolete, or the law breaks
        total, handle = self._sum(effect.leaves, effect.round, weights), Slot(self.me, effect.slot)
        for first in range(effect.slices - 1, 0, -2):
            self.host.slots[self.me, effect.slot] = Begun(total, first)
            if self.tell(messages.Early(effect.attempt, effect.round, self.me, effect.node, handle, first)):
                return None
        self.host.slots[self.me, effect.slot] = total
        return messages.Computed(effect.attempt, effect.round, effect.node, Slot(self.me, effect.slot))

    def _sum(self, leaves: Any, round_: Round, weights: tuple[int, ...]) -> int:
        if isinstance(leaves, tuple):
            return add(*(self._sum(part, round_, weights) for part in leaves))
        return leaf(round_, leaves, weights)


class ServerHands:
    def __init__(self, me: int, host: Host, disk: dict) -> None:
        self.me, self.host, self.disk = me, host, disk
        self.gradients: dict[int, int] = {}

    def pack(self, send: Send) -> Send:
        if not isinstance(send.message, messages.Push):
            return send
        parts = tuple((node, self._sum(total, send.message.slice)) for node, total in send.message.parts)
        return Send(send.to, replace(send.message, parts=parts))

    def _sum(self, total: Any, piece: int) -> int:
        if isinstance(total, tuple):
            return add(self._sum(total[0], piece), self._sum(total[1], piece))
        held = self.host.slots[total.worker, total.slot] if isinstance(total, Slot) else total
        if isinstance(held, Begun):
            assert held.first <= piece, "what is not there yet is not read"
            return held.value
        return held

    def perform(self, effect: Any) -> Any:
        return getattr(self, "_" + type(effect).__name__.lower())(effect)

    def _load(self, effect: effects.Load) -> messages.Opened:
        values = self.disk[effect.source] if effect.source is not None else range(BLOCKS)
        self.host.buffers[effect.version % 2] = [(effect.version, value) for value in values]
        return messages.Opened(effect.attempt, self.me)

    def _reduce(self, effect: effects.Reduce) -> messages.Reduced:
        return messages.Reduced(effect.attempt, effect.round, effect.slice, self._gather(effect.slice, effect.total))

    def _gather(self, piece: int, total: Any) -> list[int]:
        gathered = self.gradients[piece] = self._sum(total, piece)
        return [gathered * block % 97 for block in self.host.slices[piece]]

    def _update(self, effect: effects.Update) -> messages.Updated:
        version, norm = effect.round.version, 1
        if effect.total is None:
            sums = effect.sums[effect.slice]
            norm = sum(sum(one) for one in effect.sums.values())
        else:
            sums = self._gather(effect.slice, effect.total)
        gradient, made = self.gradients[effect.slice], []
        for block in self.host.slices[effect.slice]:
            held, value = self.host.buffers[version % 2][block]
            assert held == version, "an update starts from the version of its round"
            made.append((value * 3 + gradient * norm + int(effect.factor * 8)) % PRIME)
            self.host.buffers[(version + 1) % 2][block] = (version + 1, made[-1])
        return messages.Updated(effect.attempt, effect.round, effect.slice, made, gradient, sums)

    def _tally(self, effect: effects.Tally) -> messages.Tallied:
        return messages.Tallied(effect.attempt, effect.round, self._sum(effect.total, 0))

    def _place(self, effect: effects.Place) -> None:
        for block, value in zip(self.host.slices[effect.slice], effect.weights, strict=True):
            self.host.buffers[effect.version % 2][block] = (effect.version, value)

    def _save(self, effect: effects.Save) -> messages.Saved:
        weights = self.host.weights(effect.version)
        assert weights is not None, "a version is saved while it is whole"
        return messages.Saved(effect.attempt, self.me, effect.version, weights)


@dataclass
class Desk:
    """The coordinator's hands: judges by parity, keeps every report."""

    disk: dict
    reports: list = field(default_factory=list)
    ended: effects.Finish | None = None
    replaced: list[int] = field(default_factory=list)

    def pack(self, send: Send) -> Send:
        return send

    def perform(self, effect: Any) -> Any:
        match effect:
            case effects.Judge(gathered):
                factor, version = (0.5 if gathered.tail % 3 == 0 else 1.0), gathered.round.version
                return messages.Verdict(
                    gathered.attempt, version, gathered.tail % 41 == 0, factor, gathered.tail % 2 == 0
                )
            case effects.Report(what):
                self.reports.append(what)
            case effects.Seal(version, files):
                assert len({saved.files for saved in files.values()}) == 1, "all servers saved the same version"
                self.disk[version] = next(iter(files.values())).files
                return messages.Sealed(version)
            case effects.Replace(_, home):
                self.replaced.append(home)
            case effects.Finish():
                self.ended = effect
        return None


class Chance:
    """A fate drawn from a seed: any order, some messages twice, some never."""

    def __init__(self, seed: int, lost: float = 0.1, doubled: float = 0.1) -> None:
        self.random, self.lost, self.doubled = random.Random(seed), lost, doubled

    def pick(self, waiting: int) -> int:
        return self.random.randrange(waiting)

    def copies(self, _: Send) -> int:
        drawn = self.random.random()
        return 0 if drawn < self.lost else 2 if drawn < self.lost + self.doubled else 1


class Job:
    """Roles of one attempt in a scheduler, with workers that can be killed and join."""

    def __init__(
        self,
        course: Course,
        servers: int,
        homes: list[int],
        fate: Fate | None = None,
        *,
        disk: dict | None = None,
        first: Round | None = None,
        attempt: int = 0,
        factor: float = 1.0,
        serve: Any = rhythm.step,
        pieces: int = 1,
        deaths: int = 0,  # of workers in the middle of a leaf
    ):
        self.disk = {} if disk is None else disk
        self.desk, self.scheduler = Desk(self.disk), Scheduler(fate)
        self.hosts = [Host(cut([1] * BLOCKS, servers * pieces)) for _ in range(servers)]
        self.joined, self.deaths, self.chance = 0, deaths, random.Random(attempt)
        roles = self.scheduler.roles
        for me, host in enumerate(self.hosts):
            roles[Address("server", me)] = Role(server.ServerState(me), serve, ServerHands(me, host, self.disk))
        first = first or Round(0, TRAIN)
        source = first.version if first.version else None
        opening = messages.Open(attempt, course, first, servers, source, factor, pieces)
        state, actions = coordinator.begin(opening, range(len(homes)))
        self.coordinator = roles[COORDINATOR] = Role(state, coordinator.step, self.desk)
        for home in homes:
            self.join(home)
        self.scheduler.post(actions)

    def join(self, home: int) -> None:
        me, self.joined = self.joined, self.joined + 1
        hands = WorkerHands(me, self.hosts[home])
        role = self.scheduler.roles[Address("worker", me)] = Role(worker.WorkerState(me, home), worker.step, hands)
        hands.tell = lambda early: self._meanwhile(me, role.receive(early))
        self.scheduler.deliver(Send(Address("server", home), messages.Joined(me, home)))

    def _meanwhile(self, me: int, said: Iterable[Send]) -> bool:
        """In the middle of a worker's leaf: servers hear something of what waits, and the worker may die."""
        waiting, chance = self.scheduler.waiting, self.chance
        self.scheduler.post(said)
        for _ in range(chance.randrange(6)):
            heard = [place for place, send in enumerate(waiting) if send.to.role == "server"]
            if heard:
                self.scheduler.deliver(waiting.pop(chance.choice(heard)))
        dies = self.deaths > 0 and len(self.alive()) > 1 and chance.random() < 0.1
        if dies:
            self.deaths -= 1
            self.kill(me)
        return dies

    def kill(self, me: int) -> None:
        role = self.scheduler.roles.pop(Address("worker", me))
        self.scheduler.waiting.append(
            Send(Address("server", role.state.home), messages.Gone(me, role.state.home, "killed"))
        )

    def alive(self) -> list[int]:
        return [address.number for address in self.scheduler.roles if address.role == "worker"]

    def version(self) -> int:
        return max(
            (
                role.state.round.version
                for address, role in self.scheduler.roles.items()
                if address.role == "server" and role.state.round
            ),
            default=0,
        )

    def run(self, on_step=lambda: None) -> "Job":
        self.scheduler.run(lambda: self.desk.ended is not None, lambda: self.coordinator.state.progress, on_step)
        return self

    def outcome(self) -> tuple:
        """Final version and weights, and every report in order: what must not depend on who, where and when."""
        reports = [_plain(said) for said in self.desk.reports if isinstance(said, messages.Gathered | messages.Verdict)]
        return self.desk.ended.version, self.disk[self.desk.ended.version], reports


def _plain(said: Any) -> Any:
    """A report without what it owes to the number of servers."""
    if isinstance(said, messages.Verdict):
        return replace(said, attempt=0)
    sums = said.sums and [value for piece in sorted(said.sums) for value in said.sums[piece]]
    return said.round, said.tail, sums


__all__ = ["EVALUATE", "Chance", "Course", "Job", "Round"]
