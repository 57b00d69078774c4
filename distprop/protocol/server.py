"""The server as a state machine: sums its workers' leaves, owns slices, makes and publishes their next version.

A round ends here when every slice of the next version is in the host's buffer. A slice is made only when every server
is known to have reached the round, so no two servers are ever more than one version apart: that is what makes two
buffers by version parity enough, and it is why a host without leaves still pushes (nothing).
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distprop.protocol import effects as do
from distprop.protocol import messages as say
from distprop.protocol.course import EVALUATE, NOWHERE, TRAIN, Course, Round
from distprop.protocol.effects import Send
from distprop.protocol.evolve import evolve
from distprop.protocol.messages import COORDINATOR, Address
from distprop.protocol.plan import NO_PLAN, Plan
from distprop.protocol.tree import Node, Parts, Sum, assemble, covered, maximal, root

Actions = tuple[Any, ...]


@dataclass(frozen=True)
class Gathering:
    """What a server has of the current round."""

    present: frozenset[int] = frozenset()  # shards that have a leaf in it
    parts: Parts = field(default_factory=dict)  # from its own workers
    pushed: tuple[tuple[Node, Sum], ...] | None = None  # what it last sent to the other servers
    asked: frozenset[tuple[type, int]] = frozenset()  # effects asked for: (Reduce | Update | Tally, slice)
    norms: Mapping[int, Any] = field(default_factory=dict)  # slice -> block sums of squares, where updates are clipped
    tail: Any = None  # of the whole round, once an own slice is made
    published: Mapping[int, say.Publish] = field(default_factory=dict)  # slices of the next version that are here


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
    now: Gathering = field(default_factory=Gathering)
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


def step(state: ServerState, message: Any) -> Step:
    """The state after `message`, and what to do about it."""
    handler = _HANDLERS.get(type(message))
    return handler(state, message) if handler else (state, ())


# ---- attempts, plans, workers ---------------------------------------------------------------------------------------


def _open(state: ServerState, message: say.Open) -> Step:
    if message.attempt < state.attempt:
        return state, ()
    if message.attempt == state.attempt:
        return state, _opened_again(state)
    fresh = ServerState(state.me, state.workers, state.lost, message, factor=message.factor)
    load = do.Load(message.attempt, message.course, message.first.version, message.servers, message.source)
    return fresh, (load, *_to_workers(fresh, message))


def _opened_again(state: ServerState) -> Actions:
    return (Send(COORDINATOR, say.Opened(state.attempt, state.me)),) if state.opened else ()


def _opened(state: ServerState, message: say.Opened) -> Step:
    if message.attempt != state.attempt:
        return state, ()
    return evolve(state, opened=True), (Send(COORDINATOR, message),)


def _assign(state: ServerState, message: say.Assign) -> Step:
    plan, known = message.plan, state.plan
    if plan.attempt != state.attempt or not state.opened or plan.number <= known.number:
        return state, ()
    state = evolve(state, plan=plan)
    told = _to_workers(state, message)
    if known is NO_PLAN and state.opening is not None:
        return _then(_begin, state, state.opening.first, told)
    return _then(_advance, state, None, told)


def _joined(state: ServerState, message: say.Joined) -> Step:
    state = evolve(state, workers=state.workers | {message.worker})
    return state, (Send(COORDINATOR, message), *_brief(state, message.worker))


def _brief(state: ServerState, worker: int) -> Actions:
    """Everything that a worker needs to take part."""
    known: list[Any] = [state.opening] if state.opening else []
    known += [say.Assign(state.plan)] if state.plan is not NO_PLAN else []
    known += [say.Begin(state.attempt, state.round)] if state.round != NOWHERE and not state.stands else []
    return tuple(Send(Address("worker", worker), message) for message in known)


def _gone(state: ServerState, message: say.Gone) -> Step:
    state = evolve(state, workers=state.workers - {message.worker}, lost={**state.lost, message.worker: message})
    return state, (Send(COORDINATOR, message),)


def _failed(state: ServerState, message: say.Failed) -> Step:
    return state, (Send(COORDINATOR, message),)


# ---- a round --------------------------------------------------------------------------------------------------------


def _begin(state: ServerState, round_: Round) -> Step:
    inbox = {key: parts for key, parts in state.inbox.items() if key[0] >= round_}
    state = evolve(
        state,
        round=round_,
        stands=False,
        now=Gathering(state.course.present(round_)),
        inbox=inbox,
        peers={**state.peers, state.me: round_},
    )
    told = _to_workers(state, say.Begin(state.attempt, round_))
    if round_.kind == EVALUATE and _verdict_is_in(state):
        return _then(_train, state, None, told)
    return _then(_advance, state, None, told)


def _contribute(state: ServerState, message: say.Contribute) -> Step:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    parts = _with(state, state.now.parts, message.parts)
    return _advance(evolve(state, now=evolve(state.now, parts=parts)))


def _push(state: ServerState, message: say.Push) -> Step:
    if message.attempt != state.attempt:
        return state, ()
    reached = max(message.round, state.peers.get(message.server, message.round))
    state = evolve(state, peers={**state.peers, message.server: reached})
    if message.round >= state.round:
        key = (message.round, message.slice)
        parts = _with(state, state.inbox.get(key, {}), message.parts)
        state = evolve(state, inbox={**state.inbox, key: parts})
    return _advance(state)


def _with(state: ServerState, parts: Parts, more: tuple[tuple[Node, Sum], ...]) -> Parts:
    """`parts` and those of `more` that they do not cover."""
    levels = root(state.course.shards).level
    return {**parts, **{node: total for node, total in more if not covered(node, parts, levels)}}


def _advance(state: ServerState, _: None = None) -> Step:
    """Do whatever the round now allows. Called after everything that may have changed it."""
    if state.round == NOWHERE or state.stands:
        return state, ()
    state, pushes = _push_own(state)
    state, asked = _tally(state) if state.round.kind == EVALUATE else _make_slices(state)
    return state, (*pushes, *asked)


def _push_own(state: ServerState) -> Step:
    """Send the host's partial sums once its workers have given all that the plan asks of them."""
    present = state.now.present
    mine = tuple(maximal(root(state.course.shards), state.now.parts, present))
    held = {shard for node, _ in mine for shard in node.shards}
    wanted = [shard for shard in state.plan.shards_at(state.me) if shard in present]
    if not held.issuperset(wanted) or mine == state.now.pushed:
        return state, ()
    state = evolve(state, now=evolve(state.now, pushed=mine))
    return state, _pushes(state)


def _pushes(state: ServerState) -> Actions:
    """What this host has to say of the round to the owners of slices; evaluations have tails only: slice 0."""
    slices = range(len(state.plan.slices)) if state.round.kind == TRAIN else range(1)
    return tuple(
        Send(
            Address("server", owner),
            say.Push(state.attempt, state.round, state.me, piece, state.now.pushed or ()),
        )
        for piece in slices
        if (owner := state.plan.slices[piece]) != state.me
    )


def _total(state: ServerState, piece: int) -> Sum | None:
    """The sum over all leaves of the round for an own slice, once they are all here."""
    parts = {**state.inbox.get((state.round, piece), {}), **state.now.parts}
    return assemble(root(state.course.shards), parts, state.now.present)


def _all_here(state: ServerState) -> bool:
    return all(state.peers.get(server, NOWHERE) >= state.round for server in state.plan.servers)


def _ask(state: ServerState, effect: Any, piece: int) -> Step:
    """Ask for an effect of a slice once a round."""
    key = (type(effect), piece)
    if key in state.now.asked:
        return state, ()
    return evolve(state, now=evolve(state.now, asked=state.now.asked | {key})), (effect,)


def _tally(state: ServerState) -> Step:
    if 0 not in state.slices or (total := _total(state, 0)) is None:
        return state, ()
    return _ask(state, do.Tally(state.attempt, state.round, total), 0)


def _make_slices(state: ServerState) -> Step:
    """Make own slices whose leaves are all here: in one pass, or where updates are clipped once all norms are."""
    actions: Actions = ()
    here = _all_here(state)
    for piece in state.slices:
        more: Actions = ()
        if piece in state.now.norms:
            state, more = _update_clipped(state, piece)
        elif here and (total := _total(state, piece)) is not None:
            state, more = _ask(state, _first_effect(state, piece, total), piece)
        actions += more
    return state, actions


def _first_effect(state: ServerState, piece: int, total: Sum) -> do.Reduce | do.Update:
    if state.course.clips:
        return do.Reduce(state.attempt, state.round, piece, total)
    return do.Update(state.attempt, state.round, piece, state.factor, total, None)


def _update_clipped(state: ServerState, piece: int) -> Step:
    if len(state.now.norms) < len(state.plan.slices):
        return state, ()
    return _ask(state, do.Update(state.attempt, state.round, piece, state.factor, None, state.now.norms), piece)


def _reduced(state: ServerState, message: say.Reduced) -> Step:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    norms = {**state.now.norms, message.slice: message.sums}
    state = evolve(state, now=evolve(state.now, norms=norms))
    return _then(_advance, state, None, _to_servers(state, _norms(state, message.slice)))


def _norms(state: ServerState, piece: int) -> say.Norms:
    return say.Norms(state.attempt, state.round, piece, state.now.norms[piece])


def _hear_norms(state: ServerState, message: say.Norms) -> Step:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    norms = {**state.now.norms, message.slice: message.sums}
    return _advance(evolve(state, now=evolve(state.now, norms=norms)))


def _updated(state: ServerState, message: say.Updated) -> Step:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    state = evolve(state, now=evolve(state.now, tail=message.tail))
    made = say.Publish(state.attempt, message.round.version + 1, message.slice, message.weights, message.sums)
    return _then(_arrived, state, made, _to_servers(state, made))


def _publish(state: ServerState, message: say.Publish) -> Step:
    wanted = (
        message.attempt == state.attempt
        and state.round == Round(message.version - 1, TRAIN)
        and not state.stands
        and message.slice not in state.now.published
    )
    if not wanted:
        return state, ()
    place = do.Place(message.version, message.slice, message.weights)
    return _then(_arrived, state, dataclasses.replace(message, weights=None), (place,))


def _arrived(state: ServerState, made: say.Publish) -> Step:
    """A slice of the next version is in the host's buffer; with the last one the step is committed."""
    published = {**state.now.published, made.slice: made}
    state = evolve(state, now=evolve(state.now, published=published))
    return _commit(state, made.version) if len(published) == len(state.plan.slices) else (state, ())


# ---- versions -------------------------------------------------------------------------------------------------------


def _commit(state: ServerState, version: int) -> Step:
    own = tuple(state.now.published[piece] for piece in state.slices)
    told: Actions = ()
    if 0 in state.slices:
        state, told = _report(state, state.now.tail)
    state = evolve(state, last_published=own)
    return _then(_enter, state, version, told)


def _report(state: ServerState, tail: Any) -> Step:
    sums = {piece: made.sums for piece, made in state.now.published.items()}
    report = say.Gathered(state.attempt, state.round, tail, sums)
    return evolve(state, reports=(*state.reports, report)), (Send(COORDINATOR, report),)


def _enter(state: ServerState, version: int) -> Step:
    """All slices of `version` are here: open its first round, or stand."""
    first = state.course.first_round(version)
    if first.kind == EVALUATE:
        return _begin(state, first)
    return _train(evolve(state, round=first), None)


def _train(state: ServerState, _: None) -> Step:
    """Evaluated, where that was due: save, where that is due, and go on to the training round, or stand."""
    version, verdict = state.round.version, state.verdict if _verdict_is_in(state) else None
    if verdict:
        state = evolve(state, factor=state.factor * verdict.factor)
    stands = version in (state.course.last, state.halt) or (verdict is not None and verdict.stop)
    due = stands or state.course.saves(version) or (verdict is not None and verdict.save)
    saves: Actions = (do.Save(state.attempt, version),) if due and state.course.keeps else ()
    if not stands:
        return _then(_begin, state, Round(version, TRAIN), saves)
    state = evolve(state, round=Round(version, TRAIN), stands=True, now=Gathering())
    return state, (*saves, _stands(state))


def _verdict_is_in(state: ServerState) -> bool:
    """Whether the verdict on the version that is being evaluated has been heard."""
    return state.round.kind == EVALUATE and state.verdict is not None and state.verdict.version == state.round.version


def _verdict(state: ServerState, message: say.Verdict) -> Step:
    if message.attempt != state.attempt or (state.verdict and message.version <= state.verdict.version):
        return state, ()
    state = evolve(state, verdict=message)
    return _train(state, None) if _verdict_is_in(state) else (state, ())


def _tallied(state: ServerState, message: say.Tallied) -> Step:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    return _report(state, message.tail)


def _halt(state: ServerState, message: say.Halt) -> Step:
    if message.attempt != state.attempt or state.round == NOWHERE or message.version < (state.halt or 0):
        return state, ()
    raised = state.halt is not None and message.version > state.halt
    state = evolve(state, halt=message.version)
    if state.stands and raised and state.round.version < min(message.version, state.course.last):
        return _begin(state, state.round)
    passed = state.round >= Round(message.version, TRAIN)
    return state, (_stands(state),) if state.stands or passed else ()


def _stands(state: ServerState) -> Send:
    return Send(COORDINATOR, say.Stands(state.attempt, state.me, state.round.version, state.stands))


def _saved(state: ServerState, message: say.Saved) -> Step:
    if message.attempt != state.attempt:
        return state, ()
    return evolve(state, saves=(*state.saves, message)), (Send(COORDINATOR, message),)


def _heard(state: ServerState, message: say.Heard) -> Step:
    if message.attempt != state.attempt:
        return state, ()
    reports = tuple(report for report in state.reports if report.round > message.round)
    saves = tuple(save for save in state.saves if save.version != message.saved)
    return evolve(state, reports=reports, saves=saves), ()


# ---- in case something was lost -------------------------------------------------------------------------------------


def _tick(state: ServerState, _: say.Tick) -> Step:
    """Say again whatever is not known to have been heard."""
    again: Actions = _opened_again(state) if state.plan is NO_PLAN else ()
    known = state.plan.homes
    again += tuple(
        Send(COORDINATOR, say.Joined(worker, state.me)) for worker in sorted(state.workers) if worker not in known
    )
    mourned = [gone for worker, gone in state.lost.items() if worker in known]
    again += tuple(Send(COORDINATOR, said) for said in (*mourned, *state.reports, *state.saves))
    again += tuple(action for worker in sorted(state.workers) for action in _brief(state, worker))
    again += (_stands(state),) if state.stands else ()
    return state, again + (_round_again(state) if state.round != NOWHERE else ())


def _round_again(state: ServerState) -> Actions:
    """What this server has said to the others in this round, and the slices that brought it here."""
    made = (
        *state.last_published,
        *(state.now.published[piece] for piece in state.slices if piece in state.now.published),
    )
    again = [_to_servers(state, publish) for publish in made]
    if not state.stands:
        again += [_pushes(state)]
    again += [_to_servers(state, _norms(state, piece)) for piece in state.slices if piece in state.now.norms]
    return tuple(action for actions in again for action in actions)


# ---- sending --------------------------------------------------------------------------------------------------------


def _to_workers(state: ServerState, message: Any) -> Actions:
    return tuple(Send(Address("worker", worker), message) for worker in sorted(state.workers))


def _to_servers(state: ServerState, message: Any) -> Actions:
    return tuple(Send(Address("server", server), message) for server in state.plan.servers if server != state.me)


def _then(transition: Callable[[ServerState, Any], Step], state: ServerState, argument: Any, before: Actions) -> Step:
    """`transition`, with its actions behind those of `before`."""
    state, actions = transition(state, argument)
    return state, (*before, *actions)


_HANDLERS: dict[type, Callable[[ServerState, Any], Step]] = {
    say.Open: _open,
    say.Opened: _opened,
    say.Assign: _assign,
    say.Joined: _joined,
    say.Gone: _gone,
    say.Failed: _failed,
    say.Contribute: _contribute,
    say.Push: _push,
    say.Reduced: _reduced,
    say.Norms: _hear_norms,
    say.Updated: _updated,
    say.Publish: _publish,
    say.Verdict: _verdict,
    say.Tallied: _tallied,
    say.Halt: _halt,
    say.Saved: _saved,
    say.Heard: _heard,
    say.Tick: _tick,
}
