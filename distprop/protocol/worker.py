"""The worker as a state machine: computes the leaves of the shards that it owns, round after round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from distprop.protocol.course import TRAIN, Course, Round
from distprop.protocol.effects import Compute, Send
from distprop.protocol.evolve import evolve
from distprop.protocol.messages import Address, Assign, Begin, Computed, Contribute, Early, Open, Tick
from distprop.protocol.plan import Plan
from distprop.protocol.tree import Node, Sum, subtrees

Actions = tuple[Any, ...]


@dataclass(frozen=True)
class WorkerState:
    """What a worker knows. `done` holds the round's sums so far, `started` the nodes that it was told to add up."""

    me: int
    home: int
    attempt: int = -1
    course: Course | None = None
    plan: Plan | None = None
    round: Round | None = None
    started: tuple[Node, ...] = ()
    done: Mapping[Node, Sum] = field(default_factory=dict)


def step(state: WorkerState, message: Any) -> tuple[WorkerState, Actions]:
    """The state after `message`, and what to do about it."""
    handler = _HANDLERS.get(type(message))
    return handler(state, message) if handler else (state, ())


def _open(state: WorkerState, message: Open) -> tuple[WorkerState, Actions]:
    if message.attempt <= state.attempt:
        return state, ()
    return WorkerState(state.me, state.home, message.attempt, message.course), ()


def _assign(state: WorkerState, message: Assign) -> tuple[WorkerState, Actions]:
    plan = message.plan
    if plan.attempt != state.attempt or (state.plan is not None and plan.number <= state.plan.number):
        return state, ()
    return _compute(evolve(state, plan=plan), state.round, state.started, state.done)


def _begin(state: WorkerState, message: Begin) -> tuple[WorkerState, Actions]:
    if message.attempt != state.attempt or (state.round is not None and message.round < state.round):
        return state, ()
    if message.round == state.round:
        return state, _contribute(state)
    return _compute(state, message.round, (), {})


def _computed(state: WorkerState, message: Computed) -> tuple[WorkerState, Actions]:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    state = evolve(state, done={**state.done, message.node: message.handle})
    return state, _contribute(state) if len(state.done) == len(state.started) else ()


def _tick(state: WorkerState, _: Tick) -> tuple[WorkerState, Actions]:
    return state, _contribute(state)


def _compute(
    state: WorkerState, round_: Round | None, started: tuple[Node, ...], done: Mapping[Node, Sum]
) -> tuple[WorkerState, Actions]:
    """Start on the leaves of a round that the plan gives this worker and that it has not `started` yet."""
    plan, course = state.plan, state.course
    if plan is None or round_ is None or course is None:
        return evolve(state, round=round_, started=started, done=done), ()
    owned = plan.shards_of(state.me)
    if started:
        begun = {shard for node in started for shard in node.shards}
        owned = tuple(shard for shard in owned if shard not in begun)
    work = subtrees(owned, course.shards, course.present(round_))
    slices = _told_early(plan, round_) if len(work) == 1 and not started else 0
    actions = tuple(
        [
            Compute(state.attempt, course, round_, node, leaves, slot, slices)
            for slot, (node, leaves) in enumerate(work, start=len(started))
        ]
    )
    return evolve(state, round=round_, started=(*started, *[node for node, _ in work]), done=done), actions


def _told_early(plan: Plan, round_: Round) -> int:
    """How many slices there are, where others wait for them: asked if a single sum is all that a worker has to give."""
    large = len(plan.slices) > len(plan.servers) > 1
    return len(plan.slices) if large and round_.kind == TRAIN else 0


def _early(state: WorkerState, message: Early) -> tuple[WorkerState, Actions]:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    return state, (Send(Address("server", state.home), message),)


def _contribute(state: WorkerState) -> Actions:
    if state.round is None or not state.done or len(state.done) < len(state.started):
        return ()
    said = Contribute(state.attempt, state.round, state.me, tuple(state.done.items()))
    return (Send(Address("server", state.home), said),)


# ---- whole rounds ---------------------------------------------------------------------------------------------------


class Habit(NamedTuple):
    """What a worker did in a training round, and is asked to do in each one until version `until`."""

    round: Round
    work: tuple[Compute, ...]
    until: int


def habit(state: WorkerState) -> Habit | None:
    """That of a worker which has ended a training round; None where the next is another, or others wait for parts."""
    round_, course = state.round, state.course
    if round_ is None or course is None or round_.kind != TRAIN or not _contribute(state):
        return None
    _, work = _compute(state, round_, (), {})
    until = course.uneventful_until(round_.version)
    if until <= round_.version + 1 or any(one.slices for one in work):
        return None
    return Habit(round_, work, until)


def due(habit: Habit, version: int) -> list[Compute]:
    """What is to be done once the server says that the round of a version has begun; then it has `passed`."""
    round_ = Round(version, TRAIN)
    return [Compute(attempt, course, round_, *rest) for attempt, course, _, *rest in habit.work]


def passed(state: WorkerState, done: Sequence[Computed]) -> tuple[WorkerState, Contribute]:
    """All of a round is `done`: the same state, and word for the server, that come of each `step` on the way."""
    sums = {one.node: one.handle for one in done}
    state = evolve(state, round=done[0].round, done=sums)
    return state, Contribute(state.attempt, done[0].round, state.me, tuple(sums.items()))


_HANDLERS: dict[type, Callable[[WorkerState, Any], tuple[WorkerState, Actions]]] = {
    Open: _open,
    Assign: _assign,
    Begin: _begin,
    Computed: _computed,
    Early: _early,
    Tick: _tick,
}
