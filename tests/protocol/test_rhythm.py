"""The law of the rhythm: to every message it says what the machine says, and it keeps what the machine keeps."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.protocol import messages, rhythm, server
from distprop.protocol.course import TRAIN, Course, Round
from distprop.protocol.effects import Send
from distprop.protocol.messages import COORDINATOR, Address
from tests.protocol.test_schedules import trouble
from tests.protocol.toy import Chance, Job

COURSES = [
    Course(steps=(9,) * 4, last=25),
    Course(steps=(9, 8, 9), last=25, held_out=(True,) * 3, evaluate_every=10, save_every=7),
    Course(steps=(50, 50), last=20, clips=True),
    Course(steps=(6,), last=13, save_every=5),
    Course(steps=(13, 14, 7, 14, 13, 7), last=31),  # 81 rows, a step takes 8
]


class Both:
    """A server's machine with its rhythm and one without, side by side."""

    def __init__(self) -> None:
        self.beaten = self.whole = 0
        self.machine: Any = server.ServerState(0)

    def step(self, state: Any, message: Any) -> tuple[Any, Any]:
        self.whole += whole_round(state)
        self.beaten += type(state) is rhythm.Rhythm
        self.machine, expected = server.step(self.machine, message)
        state, said = rhythm.step(state, message)
        assert said == expected, f"in answer to {message}"
        assert rhythm.plain(state) == self.machine, f"after {message}"
        return state, said


def whole_round(state: Any) -> bool:
    """Whether a whole round can be taken at once: then that comes to the same as one message after the other."""
    contributions, plain = type(state) is rhythm.Rhythm and rhythm.contributions(state), rhythm.plain(state)
    if not contributions:
        return False
    beaten: Any = state
    for said in contributions:
        beaten, due = rhythm.step(beaten, said)
    assert due == (rhythm.due(state),)
    if state.score.state.course.clips:
        reduced = messages.Reduced(plain.attempt, plain.round, 0, "sums")
        beaten, due = rhythm.step(beaten, reduced)
        assert due == (rhythm.due(state, reduced),)
    made = messages.Updated(plain.attempt, plain.round, 0, None, "tail", "sums")
    beaten, said = rhythm.step(beaten, made)
    passed, report, begin = rhythm.passed(state, made)
    assert passed == beaten
    assert said == (Send(COORDINATOR, report), *(Send(Address("worker", one), begin) for one in sorted(plain.workers)))
    return True


@given(seed=st.integers(0, 2**32), course=st.sampled_from(COURSES), workers=st.integers(1, 4), calm=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_server_says_and_keeps_the_same_with_its_rhythm_and_without(
    seed: int, course: Course, workers: int, calm: bool
) -> None:
    both, chance = Both(), random.Random(seed)
    fate = Chance(seed, lost=0.0, doubled=0.0) if calm else Chance(seed, lost=0.02, doubled=0.02)
    job = Job(course, 1, [0] * workers, fate, serve=both.step)
    job.run(trouble(job, chance, kills=0 if calm else 2))
    assert both.beaten > course.last // 2 or not calm
    assert both.whole > course.last // 4 or not calm


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 30))
def test_until_something_may_be_due_every_step_has_the_same_shards(steps: list[int], version: int) -> None:
    course = Course(steps=tuple(steps), last=40)
    until = course.uneventful_until(version)
    assert until > version
    assert {course.present(Round(at, TRAIN)) for at in range(version, until)} == {course.present(Round(version, TRAIN))}
