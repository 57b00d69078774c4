"""A round as a server sees it: partial sums come in, those of its host go out, and own slices are made of them."""

from collections.abc import Iterable
from typing import Any

from distprop.protocol import effects as do
from distprop.protocol import messages as say
from distprop.protocol.course import EVALUATE, NOWHERE, TRAIN
from distprop.protocol.effects import Send
from distprop.protocol.evolve import evolve
from distprop.protocol.messages import Address
from distprop.protocol.server_state import Actions, ServerState, Step, then, to_servers
from distprop.protocol.tree import Node, Parts, Sum, assemble, mask_of, maximal, root


def contribute(state: ServerState, message: say.Contribute) -> Step:
    """Take a worker's partial sums."""
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    now, new = state.now, _new(message.parts, state.now.held)
    if not new:
        return state, ()
    held = now.held
    for node in new:
        held |= node.mask
    return advance(evolve(state, now=evolve(now, parts={**now.parts, **new}, held=held)))


def hear_early(state: ServerState, message: say.Early) -> Step:
    """Take what is there of a sum that a worker still adds up: whole slices stay whole, whatever becomes of it."""
    known = state.now.early.get(message.node)
    stale = known is not None and known[1] <= message.slice
    if message.attempt != state.attempt or message.round != state.round or state.round.kind != TRAIN or stale:
        return state, ()
    early = {**state.now.early, message.node: (message.handle, message.slice)}
    return advance(evolve(state, now=evolve(state.now, early=early)))


def push(state: ServerState, message: say.Push) -> Step:
    """Take another host's partial sums of an own slice."""
    if message.attempt != state.attempt:
        return state, ()
    reached = max(message.round, state.peers.get(message.server, message.round))
    state = evolve(state, peers={**state.peers, message.server: reached})
    if message.round >= state.round:
        key = (message.round, message.slice)
        parts = state.inbox.get(key, {})
        parts = {**parts, **_new(message.parts, _covered(parts))}
        state = evolve(state, inbox={**state.inbox, key: parts})
    return advance(state)


def _new(parts: tuple[tuple[Node, Sum], ...], held: int) -> Parts:
    """Those of `parts` that cover more than the shards that are `held`."""
    return {node: total for node, total in parts if node.mask & ~held}


def _covered(parts: Parts) -> int:
    """The shards that `parts` cover, as bits."""
    held = 0
    for node in parts:
        held |= node.mask
    return held


def advance(state: ServerState, _: None = None) -> Step:
    """Do whatever the round now allows. Called after everything that may have changed it."""
    if state.round == NOWHERE or state.stands:
        return state, ()
    state, pushes = _push_own(state)
    state, asked = _tally(state) if state.round.kind == EVALUATE else _make_slices(state)
    return state, (*pushes, *asked)


def _push_own(state: ServerState) -> Step:
    """Send the host's partial sums of each slice once its workers have given all of it that the plan asks of them.

    The last slices come first: of these a worker has the gradient while it still works its way back through the layers.
    """
    now, plan = state.now, state.plan
    known = now.pushed_of is not None and now.parts is now.pushed_of[0] and now.early is now.pushed_of[1]
    if known or len(plan.servers) == 1:
        return state, ()
    due = plan.mask_at(state.me) & mask_of(now.present)
    slices = _slices(state)
    pushed, whole = dict(now.pushed), root(state.course.shards)
    for piece in reversed(slices):
        parts, held = _own_parts(state, piece)
        if not due & ~held:
            pushed[piece] = maximal(whole, parts, now.present)
    fresh = [piece for piece in reversed(slices) if piece in pushed and _differs(pushed[piece], now.pushed.get(piece))]
    made_of = (now.parts, now.early) if len(pushed) == len(slices) else None
    state = evolve(state, now=evolve(now, pushed=pushed, pushed_of=made_of))
    return state, _pushes(state, fresh)


def _slices(state: ServerState) -> range:
    """The slices of the round; evaluations have tails only, which travel with slice 0."""
    return range(len(state.plan.slices)) if state.round.kind == TRAIN else range(1)


def _own_parts(state: ServerState, piece: int) -> tuple[Parts, int]:
    """What this host has of a slice, and the shards that it covers, as bits."""
    now = state.now
    if not now.early:
        return now.parts, now.held
    early = {node: total for node, (total, first) in now.early.items() if first <= piece and node.mask & ~now.held}
    return {**early, **now.parts}, now.held | _covered(early)


def _differs(parts: tuple[tuple[Node, Sum], ...], sent: tuple[tuple[Node, Sum], ...] | None) -> bool:
    """Whether other nodes were sent, or none yet: the sum of a node is always the same."""
    return sent is None or [node for node, _ in parts] != [node for node, _ in sent]


def pushes(state: ServerState) -> Actions:
    """What this host has to say of the round to the owners of slices: of those it has nothing of, that it is there."""
    return _pushes(state, _slices(state))


def _pushes(state: ServerState, slices: Iterable[int]) -> Actions:
    return tuple(
        Send(
            Address("server", owner),
            say.Push(state.attempt, state.round, state.me, piece, state.now.pushed.get(piece, ())),
        )
        for piece in slices
        if (owner := state.plan.slices[piece]) != state.me
    )


def _total(state: ServerState, piece: int) -> Sum | None:
    """The sum over all leaves of the round for an own slice, once they are all here."""
    present, there = state.now.present, state.inbox.get((state.round, piece), {})
    parts, held = _own_parts(state, piece)
    if mask_of(present) & ~(held | _covered(there)):
        return None
    return assemble(root(state.course.shards), {**there, **parts}, present)


def _all_here(state: ServerState) -> bool:
    peers, round_ = state.peers, state.round
    return all(peers.get(server, NOWHERE) >= round_ for server in state.plan.servers)


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


def reduced(state: ServerState, message: say.Reduced) -> Step:
    """An own slice's gradient is reduced: tell the others its norms."""
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    norms = {**state.now.norms, message.slice: message.sums}
    state = evolve(state, now=evolve(state.now, norms=norms))
    return then(advance, state, None, to_servers(state, norms_of(state, message.slice)))


def norms_of(state: ServerState, piece: int) -> say.Norms:
    """The norms of a slice, as the others are told them."""
    return say.Norms(state.attempt, state.round, piece, state.now.norms[piece])


def hear_norms(state: ServerState, message: say.Norms) -> Step:
    """Take the norms of a slice."""
    if message.attempt != state.attempt or message.round != state.round:
        return state, ()
    norms = {**state.now.norms, message.slice: message.sums}
    return advance(evolve(state, now=evolve(state.now, norms=norms)))
