"""A server's rounds while nothing happens but steps: says the same as the server's machine, at a quarter of its price.

Where one server has all slices and its workers send the same sums round after round, the next round is known: it ends
when each worker has said what it said in the last one. Whatever else is heard, the machine's own state is made again
and decides. That both say the same to every message, always, is a law that the tests hold.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from distprop.protocol import effects as do
from distprop.protocol import messages as say
from distprop.protocol import server
from distprop.protocol.course import TRAIN, Round
from distprop.protocol.effects import Send
from distprop.protocol.evolve import evolve
from distprop.protocol.messages import COORDINATOR, Address
from distprop.protocol.plan import Plan
from distprop.protocol.server_state import EMPTY, Actions, ServerState
from distprop.protocol.tree import Node, Parts, Sum, assemble, root

Said = tuple[tuple[Node, Sum], ...]
Chain = tuple[Any, say.Gathered] | None
"""Reports, the newest last: a Chain of all before it, and the last one. One more costs the same, however many."""


class Score(NamedTuple):
    """What is the same in all rounds of a rhythm. `until`: the first version at which more than a step may be due."""

    state: ServerState
    expected: Mapping[int, Said]  # worker -> what it says
    total: Sum
    workers: tuple[Address, ...]
    until: int


class Rhythm(NamedTuple):
    """A round of it. `waiting` are the workers that have not been heard; `made` is what ended the last round.

    reports: of its rounds that are over, as far as they are not known to have been heard.
    """

    score: Score
    round: Round
    waiting: frozenset[int]
    made: say.Updated
    reports: Chain = None
    reduced: say.Reduced | None = None

    @property
    def plan(self) -> Plan:
        """The plan that is in force."""
        return self.score.state.plan


State = ServerState | Rhythm
Step = tuple[State, Actions]


def step(state: State, message: Any) -> Step:
    """The state after `message`, and what to do about it: as `server.step`."""
    if type(state) is Rhythm:
        beat = _BEATS.get(type(message))
        if beat and (done := beat(state, message)):
            return done
        state = plain(state)
    assert type(state) is ServerState, "there is no third kind"
    after, actions = server.step(state, message)
    return (_begin(state, after, message), actions) if type(message) is say.Updated else (after, actions)


def plain(state: State) -> ServerState:
    """The machine's own state."""
    if type(state) is not Rhythm:
        assert type(state) is ServerState, "there is no third kind"
        return state
    score, round_ = state.score, state.round
    known, made = score.state, state.made
    published = say.Publish(known.attempt, round_.version, 0, made.weights, made.sums)
    begun = evolve(
        known,
        round=round_,
        now=evolve(EMPTY, present=known.now.present),
        peers={**known.peers, known.me: round_},
        last_published=(published,),
        reports=(*known.reports, *_listed(state.reports)),
    )
    for worker, said in score.expected.items():
        if worker not in state.waiting:
            begun, _ = server.step(begun, say.Contribute(known.attempt, round_, worker, said))
    return server.step(begun, state.reduced)[0] if state.reduced else begun


# ---- whole rounds ---------------------------------------------------------------------------------------------------


def contributions(state: Rhythm) -> tuple[say.Contribute, ...]:
    """What the workers are expected to say in a round of which nothing has been heard; () of any other, or the last.

    Once all of it has been heard `due` is to be done, if need be twice, until there is an Updated: with that the round
    has `passed`. This comes to the same as every `step` on the way, for which rounds of small models have no time.
    """
    if len(state.waiting) < len(state.score.expected) or not goes_on(state):
        return ()
    attempt, said = state.score.state.attempt, state.score.expected.items()
    return tuple(say.Contribute(attempt, state.round, worker, parts) for worker, parts in said)


def due(state: Rhythm, reduced: say.Reduced | None = None) -> do.Reduce | do.Update:
    """What is to be done when all workers have been heard; the second time with the answer to the first."""
    known, total, round_ = state.score.state, state.score.total, state.round
    if reduced is not None:
        return do.Update(known.attempt, round_, 0, known.factor, None, {0: reduced.sums})
    if known.course.clips:
        return do.Reduce(known.attempt, round_, 0, total)
    return do.Update(known.attempt, round_, 0, known.factor, total, None)


def passed(state: Rhythm, made: say.Updated) -> tuple[Rhythm, say.Gathered, say.Begin]:
    """The round is over: what the coordinator is told of it, and each worker."""
    report = say.Gathered(made.attempt, made.round, made.tail, {0: made.sums})
    round_ = Round(made.round.version + 1, TRAIN)
    after = Rhythm(state.score, round_, frozenset(state.score.expected), made, (state.reports, report))
    return after, report, say.Begin(made.attempt, round_)


def goes_on(state: Rhythm) -> bool:
    """Whether the next round is one of this rhythm, too."""
    return state.round.version + 1 < state.score.until


# ---- one beat -------------------------------------------------------------------------------------------------------


def _contribute(state: Rhythm, message: say.Contribute) -> Step | None:
    score = state.score
    expected = score.expected.get(message.worker)
    usual = (
        message.round == state.round
        and message.attempt == score.state.attempt
        and message.worker in state.waiting
        and message.parts == expected
    )
    if not usual:
        return None
    state = Rhythm(score, state.round, state.waiting - {message.worker}, state.made, state.reports)
    return state, () if state.waiting else (due(state),)


def _reduced(state: Rhythm, message: say.Reduced) -> Step | None:
    known = state.score.state
    if state.waiting or state.reduced or message.round != state.round or message.attempt != known.attempt:
        return None
    return state._replace(reduced=message), (due(state, message),)


def _updated(state: Rhythm, message: say.Updated) -> Step | None:
    attempt = state.score.state.attempt
    if state.waiting or not goes_on(state) or message.round != state.round or message.attempt != attempt:
        return None
    after, report, begin = passed(state, message)
    return after, (Send(COORDINATOR, report), *[Send(worker, begin) for worker in state.score.workers])


def _heard(state: Rhythm, message: say.Heard) -> Step | None:
    known = state.score.state
    if message.attempt != known.attempt or known.saves:
        return None
    before, _ = server.step(known, message)
    reports: Chain = None
    for report in _listed(state.reports):
        reports = (reports, report) if report.round > message.round else reports
    return state._replace(score=state.score._replace(state=before), reports=reports), ()


def _listed(chain: Chain) -> list[say.Gathered]:
    """The reports of a chain, the oldest first."""
    found: list[say.Gathered] = []
    while chain is not None:
        chain, last = chain
        found.append(last)
    return found[::-1]


_BEATS: dict[type, Callable[[Rhythm, Any], Step | None]] = {
    say.Contribute: _contribute,
    say.Reduced: _reduced,
    say.Updated: _updated,
    say.Heard: _heard,
}

# ---- where it begins ------------------------------------------------------------------------------------------------


def _begin(before: ServerState, after: ServerState, made: say.Updated) -> State:
    """The rhythm that a committed step begins, if it does."""
    course, plan = after.course, after.plan
    stepped = after.round == Round(made.round.version + 1, TRAIN) and before.round == made.round and not after.stands
    alone = plan.slices == (after.me,) and not after.inbox and set(plan.homes) == set(after.workers)
    if not (stepped and alone and before.now.present == after.now.present):
        return after
    expected = _by_worker(before.now.parts, plan)
    total = assemble(root(course.shards), before.now.parts, after.now.present)
    until = course.uneventful_until(after.round.version, after.halt)
    if set(expected) != set(plan.owners) or until <= after.round.version + 1:
        return after
    workers = tuple(Address("worker", worker) for worker in sorted(after.workers))
    return Rhythm(Score(after, expected, total, workers, until), after.round, frozenset(expected), made)


def _by_worker(parts: Parts, plan: Plan) -> dict[int, Said]:
    """What each worker said, where every sum is of the shards of one worker; empty otherwise."""
    said: dict[int, Said] = {}
    for node, total in parts.items():
        owners = {plan.owners[shard] for shard in node.shards if shard < len(plan.owners)}
        if len(owners) != 1:
            return {}
        worker = owners.pop()
        said[worker] = (*said.get(worker, ()), (node, total))
    return said
