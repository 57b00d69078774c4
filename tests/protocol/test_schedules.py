"""The law of the protocol: who computes, where, in which order, and what is lost on the way changes nothing."""

import math
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import LostError
from distprop.protocol import messages, rhythm, server
from distprop.protocol.course import TRAIN
from distprop.protocol.effects import Send
from distprop.protocol.messages import COORDINATOR, Address
from distprop.protocol.plan import Plan, spread
from distprop.protocol.tree import Node
from tests.protocol.toy import Chance, Course, Job, Round

BATCHES = 10
SCHEDULES = 1000 if os.environ.get("CI") else 300  # what lands is held to more

COURSES = {
    "plain": Course(steps=(4,) * 4, last=6),
    "ragged": Course(
        steps=(3, 3, 2, 3, 1),
        last=7,
        held_out=(True, True, False, True, True),
        evaluate_every=3,
        save_every=2,
    ),
    "clipped": Course(steps=(2, 2, 2), last=5, held_out=(True,) * 3, evaluate_every=2, clips=True),
    "one shard": Course(steps=(2,), last=4, held_out=(True,), clips=True),
}


def calm(course: Course) -> tuple:
    return Job(course, 1, [0]).run().outcome()


REFERENCE = {name: calm(course) for name, course in COURSES.items()}


def trouble(job: Job, chance: random.Random, kills: int):
    """Kills and joins at drawn moments; never the last worker without another to come."""
    left = [kills]

    def on_step() -> None:
        while job.desk.replaced:
            job.join(job.desk.replaced.pop())
        if left[0] and job.alive() and chance.random() < 0.02:
            left[0] -= 1
            job.kill(chance.choice(job.alive()))
        elif chance.random() < 0.005 and len(job.alive()) < 6:
            job.join(chance.randrange(len(job.hosts)))

    return on_step


@pytest.mark.parametrize("batch", range(BATCHES))
def test_any_owners_hosts_arrivals_losses_and_crashes_give_the_same_bits(batch: int) -> None:
    for seed in range(batch * SCHEDULES // BATCHES, (batch + 1) * SCHEDULES // BATCHES):
        chance = random.Random(seed)
        name = chance.choice(list(COURSES))
        servers = chance.randint(1, 4)
        homes = [chance.randrange(servers) for _ in range(chance.randint(1, 5))]
        job = Job(COURSES[name], servers, homes, Chance(seed), pieces=chance.randint(1, 3), deaths=chance.randint(0, 2))
        job.run(trouble(job, chance, kills=chance.randint(0, 3)))
        assert job.outcome() == REFERENCE[name], f"schedule {seed} of course {name!r}"


@given(seed=st.integers(0, 2**32), name=st.sampled_from(sorted(COURSES)), again=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_stopping_anywhere_and_going_on_elsewhere_gives_the_same_bits(seed: int, name: str, again: int) -> None:
    """Interrupted at a drawn moment and resumed on other hosts, up to three times."""
    course, chance, disk = COURSES[name], random.Random(seed), {}
    first, reports, factor = Round(0, TRAIN), [], 1.0
    for attempt in range(again + 1):
        servers = chance.randint(1, 3)
        homes = [chance.randrange(servers) for _ in range(chance.randint(1, 4))]
        job = Job(
            course,
            servers,
            homes,
            Chance(seed + attempt),
            disk=disk,
            first=first,
            attempt=attempt,
            factor=factor,
        )
        stop_at = chance.randint(0, 150) if attempt < again else -1
        job.run(_interrupt_at(job, stop_at))
        version, weights, more = job.outcome()
        reports += more
        factor *= math.prod(said.factor for said in more if isinstance(said, messages.Verdict))
        if not job.desk.ended.interrupted:
            break
        first = Round(version, TRAIN)
    assert (version, weights, reports) == REFERENCE[name]


def _interrupt_at(job: Job, moment: int):
    steps = [0]

    def on_step() -> None:
        steps[0] += 1
        if steps[0] > moment >= 0 and job.coordinator.state.plan is not None and job.coordinator.state.halt is None:
            job.scheduler.post(job.coordinator.receive(messages.Interrupt()))

    return on_step


def test_a_schedule_is_reproducible() -> None:
    runs = [Job(COURSES["ragged"], 2, [0, 1, 1], Chance(5)).run() for _ in range(2)]
    assert runs[0].desk.reports == runs[1].desk.reports


def test_a_lost_worker_is_reported_and_replaced() -> None:
    job = Job(COURSES["plain"], 1, [0, 0])
    job.run(lambda: job.kill(1) if job.version() == 2 and 1 in job.alive() else None)
    assert [said.worker for said in job.desk.reports if isinstance(said, messages.Gone)] == [1]
    assert job.desk.replaced == [0]
    assert job.outcome() == REFERENCE["plain"]


def test_a_job_without_workers_is_not_silent_for_ever() -> None:
    job = Job(COURSES["plain"], 1, [0])
    job.kill(0)
    with pytest.raises(LostError, match="stands still"):
        job.run()


def test_the_toy_notices_a_leaf_taken_twice_or_left_out() -> None:
    """The law can fail: a protocol that adds in another order gives other weights."""
    course = COURSES["plain"]
    other = Course(steps=(4, 4, 4, 3), last=6)
    assert calm(other) != calm(course)


def test_the_loss_of_a_worker_that_nobody_knew_is_told_until_it_is_heard() -> None:
    """Word that it joined was lost, and so was the first word that it is gone: its replacement waits for the second."""
    known, _ = server.step(server.ServerState(0), messages.Joined(5, 0))
    gone = messages.Gone(5, 0, "killed")
    bereaved, _ = server.step(known, gone)
    _, said = server.step(bereaved, messages.Tick())
    assert Send(COORDINATOR, gone) in said


def test_the_last_slices_are_pushed_while_the_first_layers_are_still_worked_on() -> None:
    plan = Plan(0, 0, (0, 1), {0: 0, 1: 1}, spread(servers=2, pieces=2))
    opening = messages.Open(0, Course(steps=(9, 9), last=9), Round(0, TRAIN), 2, None, pieces=2)
    state, node = server.ServerState(0), Node(0, 0)
    for message in (messages.Joined(0, 0), opening, messages.Opened(0, 0), messages.Assign(plan)):
        state, _ = server.step(state, message)

    def pushed(message: object) -> list[int]:
        nonlocal state
        state, said = server.step(state, message)
        return [send.message.slice for send in said if isinstance(send.message, messages.Push)]

    assert pushed(messages.Early(0, Round(0, TRAIN), 0, node, "sum", 3)) == [3]
    assert pushed(messages.Early(0, Round(0, TRAIN), 0, node, "sum", 2)) == []
    assert pushed(messages.Early(0, Round(0, TRAIN), 0, node, "sum", 3)) == [], "what is known already"
    assert pushed(messages.Contribute(0, Round(0, TRAIN), 0, ((node, "sum"),))) == [1]


def test_a_second_attempt_hears_at_once_which_workers_are_there() -> None:
    """Where it waited for a silent server's next word it stood still for seconds."""
    job = Job(Course(steps=(3, 3), last=3, keeps=False), 1, [0, 0]).run()
    known = rhythm.plain(job.scheduler.roles[Address("server", 0)].state)
    again = messages.Open(1, Course(steps=(3, 3), last=3), Round(0, TRAIN), 1, None)
    _, actions = server.step(known, again)
    assert [Send(COORDINATOR, messages.Joined(worker, 0)) for worker in (0, 1)] == list(actions[1:3])
