"""The coordinator as a state machine: watches, issues plans, asks for verdicts and checkpoints. It sees no gradient."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from distprop.protocol import effects as do
from distprop.protocol import messages as say
from distprop.protocol.course import EVALUATE, TRAIN, Course, Round
from distprop.protocol.effects import Send
from distprop.protocol.evolve import evolve
from distprop.protocol.messages import Address
from distprop.protocol.plan import Plan, deal, deal_orphans, spread

Actions = tuple[Any, ...]

MARGIN = 2
"""Versions ahead of the furthest known one at which servers are asked to halt: none can be further by then."""


@dataclass(frozen=True)
class CoordinatorState:
    """What the coordinator knows. The `expected` workers that are not lost are waited for before the first plan."""

    opening: say.Open
    expected: frozenset[int]
    heard: Round  # reports up to here are processed
    opened: frozenset[int] = frozenset()
    homes: Mapping[int, int] = field(default_factory=dict)  # worker -> server
    lost: frozenset[int] = frozenset()
    plan: Plan | None = None
    early: Mapping[Round, say.Gathered] = field(default_factory=dict)  # reports that came before their turn
    verdict: say.Verdict | None = None
    halt: int | None = None
    standing: Mapping[int, int] = field(default_factory=dict)  # server -> version that it stands at
    files: Mapping[int, Mapping[int, Any]] = field(default_factory=dict)  # version -> server -> what it wrote
    sealing: frozenset[int] = frozenset()  # versions whose manifest was asked for
    sealed: frozenset[int] = frozenset()
    finished: bool = False

    @property
    def attempt(self) -> int:
        """The attempt that this coordinator conducts."""
        return self.opening.attempt

    @property
    def course(self) -> Course:
        """The course of the attempt."""
        return self.opening.course

    @property
    def awaited(self) -> frozenset[int]:
        """Workers without which there is no first plan: those that are up and have not been heard of."""
        return self.expected - self.homes.keys() - self.lost

    @property
    def progress(self) -> tuple[int, ...]:
        """Numbers that change whenever the job gets on."""
        plan = self.plan.number if self.plan else -1
        return (*self.heard, plan, len(self.opened), len(self.homes), len(self.sealed), len(self.standing))

    @property
    def servers(self) -> range:
        """All servers; the set is fixed within an attempt."""
        return range(self.opening.servers)


Step = tuple[CoordinatorState, Actions]


def begin(opening: say.Open, expected: Collection[int], lost: Collection[int] = ()) -> Step:
    """The coordinator of an attempt, and its first words.

    expected: workers that are up. lost: workers whose loss earlier attempts have heard of; it is not counted again.
    """
    heard = _before(opening.course, opening.first)
    state = CoordinatorState(opening, frozenset(expected), heard, lost=frozenset(lost))
    return state, _to_servers(state, opening)


def step(state: CoordinatorState, message: Any) -> Step:
    """The state after `message`, and what to do about it."""
    handler = _HANDLERS.get(type(message))
    if handler is None or state.finished or getattr(message, "attempt", state.attempt) != state.attempt:
        return state, ()
    return handler(state, message)


def _before(course: Course, round_: Round) -> Round:
    """The round that comes before `round_`."""
    if round_.kind == TRAIN and course.evaluates(round_.version):
        return Round(round_.version, EVALUATE)
    return Round(round_.version - 1, TRAIN)


def _after(course: Course, round_: Round) -> Round:
    """The round that comes after `round_`."""
    if round_.kind == EVALUATE:
        return Round(round_.version, TRAIN)
    return course.first_round(round_.version + 1)


# ---- who takes part -------------------------------------------------------------------------------------------------


def _opened(state: CoordinatorState, message: say.Opened) -> Step:
    return _first_plan(evolve(state, opened=state.opened | {message.server}))


def _joined(state: CoordinatorState, message: say.Joined) -> Step:
    if message.worker in state.homes or message.worker in state.lost:
        return state, ()
    state = evolve(state, homes={**state.homes, message.worker: message.server})
    reported = (do.Report(message),)
    if state.plan is None:
        state, actions = _first_plan(state)
        return state, (*reported, *actions)
    return _issue(state, deal(state.course.shards, state.homes), reported)


def _first_plan(state: CoordinatorState) -> Step:
    ready = len(state.opened) == len(state.servers) and state.homes and not state.awaited
    if not ready or state.plan is not None:
        return state, ()
    return _issue(state, deal(state.course.shards, state.homes), ())


def _issue(state: CoordinatorState, owners: tuple[int, ...], before: Actions) -> Step:
    """Put a new plan in force."""
    number = state.plan.number + 1 if state.plan else 0
    plan = Plan(number, state.attempt, owners, dict(state.homes), spread(len(state.servers), state.opening.pieces))
    state = evolve(state, plan=plan)
    return state, (*before, *_to_servers(state, say.Assign(plan)))


def _gone(state: CoordinatorState, message: say.Gone) -> Step:
    if message.worker in state.lost:
        return state, ()
    homes = {worker: home for worker, home in state.homes.items() if worker != message.worker}
    state = evolve(state, homes=homes, lost=state.lost | {message.worker})
    actions: Actions = (do.Report(message), do.Replace(message.worker, message.server))
    if state.plan is None:
        state, plan = _first_plan(state)
        return state, (*actions, *plan)
    if not homes:
        return state, actions
    return _issue(state, deal_orphans(state.plan.owners, homes), actions)


def _failed(state: CoordinatorState, message: say.Failed) -> Step:
    return _finish(state, error=message.error)


# ---- what was gathered ----------------------------------------------------------------------------------------------


def _gathered(state: CoordinatorState, message: say.Gathered) -> Step:
    """Process reports in the order of their rounds, whatever order they come in."""
    if message.round <= state.heard:
        return state, ()
    early, heard, actions = {**state.early, message.round: message}, state.heard, []
    while report := early.pop(_after(state.course, heard), None):
        heard = report.round
        actions.append(do.Judge(report) if heard.kind == EVALUATE else do.Report(report))
    return _settle(evolve(state, early=early, heard=heard), tuple(actions))


def _settle(state: CoordinatorState, before: Actions) -> Step:
    """What more was processed may allow: checkpoints to be sealed, the job to end."""
    state, seals = _seal(state)
    state, end = _end(state)
    return state, (*before, *seals, *end)


def _verdict(state: CoordinatorState, message: say.Verdict) -> Step:
    state = evolve(state, verdict=message)
    return _settle(state, (do.Report(message), *_to_servers(state, message)))


def _saved(state: CoordinatorState, message: say.Saved) -> Step:
    heard = Send(Address("server", message.server), say.Heard(state.attempt, state.heard, message.version))
    known = state.files.get(message.version, {})
    if message.version in state.sealing or message.server in known:
        return state, (heard,)
    files = {**known, message.server: message}
    state, seals = _seal(evolve(state, files={**state.files, message.version: files}))
    return state, (heard, *seals)


def _seal(state: CoordinatorState) -> Step:
    """Seal the checkpoints that all servers have written and whose reports are processed, each once."""
    if not state.files:
        return state, ()
    due = [
        version
        for version, files in sorted(state.files.items())
        if len(files) == len(state.servers) and version not in state.sealing and _settled(state, version)
    ]
    state = evolve(state, sealing=state.sealing | set(due))
    return state, tuple(do.Seal(version, state.files[version]) for version in due)


def _settled(state: CoordinatorState, version: int) -> bool:
    """Whether everything up to the training round of `version` is processed, its verdict included."""
    processed = _after(state.course, state.heard) >= Round(version, TRAIN)
    judged = not state.course.evaluates(version) or (state.verdict is not None and state.verdict.version >= version)
    return processed and (judged or state.opening.first == Round(version, TRAIN))


def _sealed(state: CoordinatorState, message: say.Sealed) -> Step:
    files = {version: saved for version, saved in state.files.items() if version != message.version}
    return _end(evolve(state, files=files, sealed=state.sealed | {message.version}))


# ---- the end --------------------------------------------------------------------------------------------------------


def _interrupt(state: CoordinatorState, _: say.Interrupt) -> Step:
    if state.halt is not None:
        return state, ()
    if state.plan is None:
        return _finish(state, state.opening.first.version, interrupted=True)
    return _ask_to_halt(state, state.heard.version + 1 + MARGIN)


def _ask_to_halt(state: CoordinatorState, version: int) -> Step:
    state = evolve(state, halt=version, standing={})
    return state, _to_servers(state, say.Halt(state.attempt, version))


def _stands(state: CoordinatorState, message: say.Stands) -> Step:
    if not message.halted:
        late = state.halt is not None and message.version >= state.halt
        return _ask_to_halt(state, message.version + MARGIN) if late else (state, ())
    return _end(evolve(state, standing={**state.standing, message.server: message.version}))


def _end(state: CoordinatorState) -> Step:
    """Finish once all servers stand at one version, its reports are processed and its checkpoint is whole."""
    if len(state.standing) < state.opening.servers:
        return state, ()
    versions = set(state.standing.values())
    if len(versions) != 1:
        return state, ()
    (version,) = versions
    kept = version in state.sealed or not state.course.keeps
    if not (kept and _settled(state, version)):
        return state, ()
    stopped = state.verdict is not None and state.verdict.version == version and state.verdict.stop
    return _finish(state, version, interrupted=version < state.course.last and not stopped)


def _finish(
    state: CoordinatorState, version: int = -1, *, interrupted: bool = False, error: Exception | None = None
) -> Step:
    return evolve(state, finished=True), (do.Finish(version, interrupted, error),)


# ---- in case something was lost -------------------------------------------------------------------------------------


def _tick(state: CoordinatorState, _: say.Tick) -> Step:
    """Say again whatever is not known to have been heard."""
    known: list[Any] = []
    if len(state.opened) < len(state.servers):
        known += [state.opening]
    if state.plan is not None:
        known += [say.Assign(state.plan), say.Heard(state.attempt, state.heard)]
    known += [state.verdict] if state.verdict else []
    known += [say.Halt(state.attempt, state.halt)] if state.halt is not None else []
    return state, tuple(action for message in known for action in _to_servers(state, message))


def _to_servers(state: CoordinatorState, message: Any) -> Actions:
    return tuple(Send(Address("server", server), message) for server in state.servers)


_HANDLERS: dict[type, Callable[[CoordinatorState, Any], Step]] = {
    say.Opened: _opened,
    say.Joined: _joined,
    say.Gone: _gone,
    say.Failed: _failed,
    say.Gathered: _gathered,
    say.Verdict: _verdict,
    say.Saved: _saved,
    say.Sealed: _sealed,
    say.Stands: _stands,
    say.Interrupt: _interrupt,
    say.Tick: _tick,
}
