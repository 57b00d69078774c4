"""The server as a state machine: sums its workers' leaves, owns slices, makes and publishes their next version.

A round ends here when every slice of the next version is in the host's buffer. A slice is made only when every server
is known to have reached the round, so no two servers are ever more than one version apart: that is what makes two
buffers by version parity enough, and it is why a host without leaves still pushes (nothing).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from distprop.protocol import effects as do
from distprop.protocol import messages as say
from distprop.protocol.course import EVALUATE, NOWHERE, TRAIN, Round
from distprop.protocol.effects import Send
from distprop.protocol.evolve import evolve
from distprop.protocol.gathering import advance, contribute, hear_early, hear_norms, norms_of, push, pushes, reduced
from distprop.protocol.messages import COORDINATOR, Address
from distprop.protocol.plan import NO_PLAN
from distprop.protocol.server_state import EMPTY, Actions, ServerState, Step, then, to_servers, to_workers

__all__ = ["ServerState", "step"]


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
    load = do.Load(
        message.attempt, message.course, message.first.version, message.servers, message.source, message.pieces
    )
    return fresh, (load, *_newcomers(fresh), *to_workers(fresh, message))


def _newcomers(state: ServerState) -> Actions:
    """Tell the coordinator which workers are there that its plan does not know: of a new attempt all."""
    unknown = sorted(state.workers - state.plan.homes.keys())
    return tuple(Send(COORDINATOR, say.Joined(worker, state.me)) for worker in unknown)


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
    told = to_workers(state, message)
    if known is NO_PLAN and state.opening is not None:
        return then(_begin, state, state.opening.first, told)
    return then(advance, state, None, told)


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
    inbox = {key: parts for key, parts in state.inbox.items() if key[0] >= round_} if state.inbox else state.inbox
    state = evolve(
        state,
        round=round_,
        stands=False,
        now=evolve(EMPTY, present=state.course.present(round_)),
        inbox=inbox,
        peers={**state.peers, state.me: round_},
    )
    told = to_workers(state, say.Begin(state.attempt, round_))
    if round_.kind == EVALUATE and _verdict_is_in(state):
        return then(_train, state, None, told)
    return then(advance, state, None, told)


def _updated(state: ServerState, message: say.Updated) -> Step:
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    state = evolve(state, now=evolve(state.now, tail=message.tail))
    made = say.Publish(state.attempt, message.round.version + 1, message.slice, message.weights, message.sums)
    return then(_arrived, state, made, to_servers(state, made))


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
    return then(_arrived, state, dataclasses.replace(message, weights=None), (place,))


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
    return then(_enter, state, version, told)


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
        return then(_begin, state, Round(version, TRAIN), saves)
    state = evolve(state, round=Round(version, TRAIN), stands=True, now=EMPTY)
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
    again += _newcomers(state)
    again += tuple(Send(COORDINATOR, said) for said in (*state.lost.values(), *state.reports, *state.saves))
    again += tuple(action for worker in sorted(state.workers) for action in _brief(state, worker))
    again += (_stands(state),) if state.stands else ()
    return state, again + (_round_again(state) if state.round != NOWHERE else ())


def _round_again(state: ServerState) -> Actions:
    """What this server has said to the others in this round, and the slices that brought it here."""
    made = (
        *state.last_published,
        *(state.now.published[piece] for piece in state.slices if piece in state.now.published),
    )
    again = [to_servers(state, publish) for publish in made]
    if not state.stands:
        again += [pushes(state)]
    again += [to_servers(state, norms_of(state, piece)) for piece in state.slices if piece in state.now.norms]
    return tuple(action for actions in again for action in actions)


_HANDLERS: dict[type, Callable[[ServerState, Any], Step]] = {
    say.Open: _open,
    say.Opened: _opened,
    say.Assign: _assign,
    say.Joined: _joined,
    say.Gone: _gone,
    say.Failed: _failed,
    say.Contribute: contribute,
    say.Early: hear_early,
    say.Push: push,
    say.Reduced: reduced,
    say.Norms: hear_norms,
    say.Updated: _updated,
    say.Publish: _publish,
    say.Verdict: _verdict,
    say.Tallied: _tallied,
    say.Halt: _halt,
    say.Saved: _saved,
    say.Heard: _heard,
    say.Tick: _tick,
}
