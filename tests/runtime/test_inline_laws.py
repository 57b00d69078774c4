"""The law of bits with real arithmetic: workers, hosts, order, losses, crashes and stops change nothing."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop import events
from distprop.runtime import blueprint
from tests.runtime.small import NORMALIZED, OPTIMIZERS, Fate, Ran, chance_of, run, small_job, stop_at

seeds = st.integers(0, 2**32)
hosts = st.integers(1, 3)
jobs = pytest.mark.parametrize("name", ["sgd", "adamw", "groups", "accumulated", "batch norm", "micro-batches"])
"""One for every way in which a step is made. All entries of the registries are in test_every_entry."""


def job_of(name: str, rows: str, room: Path) -> dict[str, Any]:
    """With one of the optimizers; or with running statistics, averaged and beside gradients that are clipped.

    Micro-batches have 3 rows: leaves of 7 and 8 end with one of 1 or 2.
    """
    if name == "micro-batches":
        return small_job(rows, room, model=NORMALIZED, data__micro_batch_size=3)
    if name == "batch norm":
        return small_job(rows, room, model=NORMALIZED, optimizer={"clip_norm": 0.5, "adam": {}, "average": 0.8})
    return small_job(rows, room, optimizer={"clip_norm": 0.5, **OPTIMIZERS[name]})


@cache
def alone(name: str, rows: str, room: Path) -> Ran:
    """One worker, one server, every message once and in order."""
    return run(job_of(name, rows, room))


@jobs
@given(seed=seeds, servers=hosts, kills=st.integers(0, 3), large=st.booleans())
@settings(max_examples=4, deadline=None)
def test_any_hosts_arrivals_losses_and_crashes_give_the_same_bits(
    name: str, seed: int, servers: int, kills: int, large: bool, rows: str, room: Path
) -> None:
    """Large: as if the network were so large that every host owns several slices, which travel before it is done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blueprint, "PIECE", 100 if large else blueprint.PIECE)
        ran = run(job_of(name, rows, room), servers, chance_of(seed, servers), Fate(seed, kills))
    assert ran.numbers == alone(name, rows, room).numbers


@jobs
@given(seed=seeds, at=st.integers(1, 7), servers=hosts)
@settings(max_examples=2, deadline=None)
def test_stopping_anywhere_and_going_on_elsewhere_gives_the_same_bits(
    name: str, seed: int, at: int, servers: int, rows: str, room: Path
) -> None:
    job, whole = job_of(name, rows, room), alone(name, rows, room)
    first = run(job, 2, (0, 1, 1), listeners=[stop_at(at)])
    assert first.result.status == "interrupted"
    assert at <= first.result.steps < 10
    rest = run(job, servers, chance_of(seed, servers), Fate(seed), checkpoint=first.result.checkpoint)
    assert rest.result.digest == whole.result.digest and rest.result.metrics == whole.result.metrics
    for part in range(2, 5):  # steps, verdicts, receipts of epochs
        assert [*first.numbers[part], *rest.numbers[part]] == whole.numbers[part]


@given(seed=seeds, servers=hosts, kills=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_a_loss_is_told_once_over_training_and_test(seed: int, servers: int, kills: int, rows: str, room: Path) -> None:
    """Servers say again who is gone when the test begins, whose session has not heard of it."""
    job = small_job(rows, room, data__test=rows)
    fate = Fate(seed, kills)
    ran = run(job, servers, chance_of(seed, servers), fate)
    assert sorted(lost.worker for lost in ran.of(events.WorkerLost)) == sorted(fate.killed)
    assert ran.numbers == with_a_test(rows, room).numbers


@cache
def with_a_test(rows: str, room: Path) -> Ran:
    """One worker, one server, with test rows."""
    return run(small_job(rows, room, data__test=rows))


def test_the_schedules_really_kill_workers(rows: str, room: Path) -> None:
    fate = Fate(5, kills=3)
    ran = run(job_of("adamw", rows, room), 2, (0, 1, 1), fate)
    assert sorted(lost.worker for lost in ran.of(events.WorkerLost)) == sorted(fate.killed) and len(fate.killed) == 3
    assert ran.numbers == alone("adamw", rows, room).numbers


def test_the_law_can_fail_for_every_part_of_the_recipe(rows: str, room: Path) -> None:
    """Another seed, number of shards, batch size or micro-batch size gives other bits: the digest is no constant."""
    job = job_of("adamw", rows, room)
    changes = ({"shards": 4}, {"batch_size": 4, "shards": 4}, {"micro_batch_size": 4}, {"micro_batch_size": 3})
    other = [{**job, "seed": 4}] + [{**job, "data": {**job["data"], **change}} for change in changes]
    digests = {run(one).result.digest for one in (job, *other)}
    assert len(digests) == 6


@pytest.mark.parametrize("name", ["sgd", "micro-batches"])
def test_every_epoch_sees_each_row_once(name: str, rows: str, room: Path) -> None:
    ran = alone(name, rows, room)
    ends = ran.of(events.EpochEnded)
    (train, valid) = ran.of(events.RunStarted)[0].datasets
    assert [end.rows for end in ends] == [train.rows, train.rows] and train.rows + valid.rows == 211
    assert len({end.receipt for end in ends}) == 1
