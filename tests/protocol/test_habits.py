"""The law of a worker's habits: a round that is taken at once comes to the same as one message after the other."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distprop.protocol import messages, worker
from distprop.protocol.course import EVALUATE, TRAIN, Course, Round
from distprop.protocol.effects import Compute, Send
from distprop.protocol.messages import Address
from distprop.protocol.plan import Plan

steps = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def computed(work: Compute) -> messages.Computed:
    return messages.Computed(work.attempt, work.round, work.node, ("slot", work.slot))


def at(course: Course, owners: tuple[int, ...], round_: Round, slices: tuple[int, ...] = (0,)) -> worker.WorkerState:
    """Worker 0, when it has done all of a round. slices: the server of each."""
    plan = Plan(0, 3, owners, dict.fromkeys(owners, 0), slices)
    state = worker.WorkerState(0, 0)
    for message in (messages.Open(3, course, round_, 1, None), messages.Assign(plan)):
        state, _ = worker.step(state, message)
    state, actions = worker.step(state, messages.Begin(3, round_))
    for work in actions:
        state, _ = worker.step(state, computed(work))
    return state


@given(steps, st.integers(0, 30), st.randoms())
@settings(max_examples=200, deadline=None)
def test_a_round_by_habit_is_the_round_of_every_message(shards: list[int], version: int, draw: object) -> None:
    course = Course(steps=tuple(shards), last=40, evaluate_every=10, held_out=(True,) * len(shards))
    owners = tuple(draw.choice((0, 0, 1)) for _ in shards)  # type: ignore[attr-defined]
    state = at(course, owners, Round(version, TRAIN))
    habit = worker.habit(state)
    assume(habit is not None)
    for later in range(version + 1, habit.until):
        due = worker.due(habit, later)
        heard, actions = worker.step(state, messages.Begin(3, due[0].round))
        assert list(actions) == due
        for work in due:
            heard, told = worker.step(heard, computed(work))
        state, said = worker.passed(state, [computed(work) for work in due])
        assert state == heard
        assert told == (Send(Address("server", 0), said),)


def test_there_is_no_habit_where_the_next_round_is_another_or_this_one_is_not_over() -> None:
    course = Course(steps=(6, 6), last=20, evaluate_every=5, held_out=(True, True))
    assert worker.habit(worker.WorkerState(0, 0)) is None
    assert worker.habit(at(course, (0, 0), Round(4, TRAIN))) is None, "an evaluation is next"
    assert worker.habit(at(course, (0, 0), Round(5, EVALUATE))) is None
    assert worker.habit(at(course, (1, 1), Round(1, TRAIN))) is None, "it has no shards"
    assert worker.habit(at(course, (0, 1), Round(1, TRAIN), (0, 0, 1, 1))) is None, "others wait for parts of its sums"
    begun, _ = worker.step(at(course, (0, 1), Round(1, TRAIN)), messages.Begin(3, Round(2, TRAIN)))
    assert worker.habit(begun) is None, "it has not computed yet"
