"""scale: how a step's time and memory grow with parameters, workers, leaves and hosts, all on this machine."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from benchmarks import machine
from benchmarks.cases import CASES
from benchmarks.driven import Driven, on_ray
from benchmarks.figures import median, samples, spread
from benchmarks.idle import IdleBlueprint, idle_job
from benchmarks.job import Job
from benchmarks.memory import memory_rows
from benchmarks.part import Report, Settings
from benchmarks.roofline import Rooflines
from distprop.runtime.blueprint import Blueprint

PARAMETERS = (10_000, 100_000, 1_000_000, 10_000_000, 30_000_000)
WORKERS = range(1, 9)
LEAVES = (2, 4, 8, 16, 32)
HOSTS = (1, 2, 3)
BIG = 30_000_000
CASE = CASES["B"]
IDLE = 500_000  # parameters of a job that sleeps in the place of case B, which has 536 000

COLUMNS = {
    "vary": "what grows",
    "value": "to",
    "parameters": "parameters",
    "workers": "workers",
    "shards": "V",
    "servers": "hosts",
    "leaf": "leaf",
    "distprop_ms": "step ms",
    "spread": "±",
    "efficiency": "leaf / step",
    "wire_mb": "lo MB",
    "expected_mb": "computed",
}

REMARKS = [
    "leaf: fill: the gradient is only filled; B: case B's arithmetic; sleep: the gradient is filled after a sleep that "
    "is as long as case B's leaf of one worker, so that more workers than cores can be had.",
    "leaf / step: the share of a step that its leaves take.",
    "lo MB: over the loopback interface a step, all hosts together; computed: 2 (M - 1) x 4 P for M hosts whose shards "
    "make whole subtrees.",
]


def measure(settings: Settings) -> list[Report]:
    """All four directions, then memory."""
    report = Report("Scale: a step's time", COLUMNS, remarks=REMARKS)
    with on_ray():
        for rows in (_parameters(settings), _workers(settings), _leaves(settings), _hosts(settings)):
            for row in rows:
                settings.say(f"scale: {row['vary']} {row['value']}: {row['distprop_ms']:.2f} ms")
                report.rows.append(row)
        return [report, memory_rows(1_000_000 if settings.quick else BIG, workers=4)]


def _parameters(settings: Settings) -> Iterator[dict[str, Any]]:
    workers = settings.workers
    for parameters in PARAMETERS[:3] if settings.quick else PARAMETERS:
        blueprint = idle_job(parameters, workers, optimizer="adam").blueprint(IdleBlueprint)
        about = {"vary": "parameters", "value": parameters, "leaf": "fill"}
        yield about | _run(settings, blueprint, workers)


def _workers(settings: Settings) -> Iterator[dict[str, Any]]:
    """With real arithmetic as far as there are cores, then asleep."""
    cores = len(os.sched_getaffinity(0))
    with closing(Rooflines(CASE, min(cores, settings.workers), with_torch=False)) as roofs:
        leaf = roofs.leaf(0.5)
    for workers in WORKERS:
        if workers <= cores:
            job = Job(CASE.layers, CASE.input_shape, CASE.classes, CASE.rows * workers, workers)
            yield _of_workers("B", leaf, _run(settings, job.blueprint(), workers))
        asleep = idle_job(IDLE, workers, optimizer="adam").blueprint(IdleBlueprint, sleep=leaf / 1e3)
        yield _of_workers(f"sleep {leaf:.1f} ms", leaf, _run(settings, asleep, workers))


def _of_workers(kind: str, leaf: float, row: Mapping[str, Any]) -> dict[str, Any]:
    efficiency = leaf / row["distprop_ms"]
    return {"vary": "workers", "value": row["workers"], "leaf": kind, **row, "efficiency": efficiency}


def _leaves(settings: Settings) -> Iterator[dict[str, Any]]:
    """The same rows a step in more and smaller leaves."""
    workers = settings.workers
    for shards in LEAVES[:3] if settings.quick else LEAVES:
        job = Job(CASE.layers, CASE.input_shape, CASE.classes, CASE.rows * workers, shards)
        yield {"vary": "leaves", "value": shards, "leaf": "B", **_run(settings, job.blueprint(), workers)}


def _hosts(settings: Settings) -> Iterator[dict[str, Any]]:
    """Four workers over one host and more; all hosts are this machine."""
    parameters, workers = (100_000 if settings.quick else 2_000_000), 4
    for hosts in HOSTS:
        blueprint = idle_job(parameters, workers, optimizer="adam").blueprint(IdleBlueprint)
        row = _run(settings, blueprint, workers, hosts)
        expected = 2 * (hosts - 1) * 4 * parameters / 1e6
        yield {"vary": "hosts", "value": hosts, "leaf": "fill", **row, "expected_mb": expected}


def _run(settings: Settings, blueprint: Blueprint, workers: int, servers: int = 1) -> dict[str, Any]:
    with closing(Driven(blueprint, workers, servers)) as driven:
        few = driven.run(12).times
        steps = int(min(400, max(12, (0.3 if settings.quick else 2.0) / ((few[-1] - few[2]) / 9))))
        found: list[float] = []
        moved = machine.loopback_bytes()
        for _ in range(settings.rounds):
            found += samples(driven.run(steps).times, max(1, steps // 40))
        moved = machine.loopback_bytes() - moved
    return {
        "parameters": blueprint.parameters,
        "workers": workers,
        "shards": blueprint.dataset.train_plan.shards,
        "servers": servers,
        "distprop_ms": median(found),
        "spread": spread(found),
        "wire_mb": moved / (steps * settings.rounds) / 1e6,
    }
