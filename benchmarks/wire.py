"""wire: push + reduce + SGD update + pull on one host, with nothing computed; a bare probe and Ray's objects beside."""

from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from benchmarks.driven import Driven, on_ray
from benchmarks.figures import median, samples, spread
from benchmarks.idle import IdleBlueprint, idle_job
from benchmarks.objects import Objects
from benchmarks.part import Report, Settings
from benchmarks.probe import Probe
from benchmarks.quiet import settle

SIZES = (10_000, 100_000, 500_000, 2_000_000, 10_000_000)
TARGET = 1.5
SMALL, SMALL_MS = 10_000, 0.1  # the smallest is held to a time
VALUES_A_BLOCK = 1.5e8

COLUMNS = {
    "parameters": "parameters",
    "distprop_ms": "distprop ms",
    "distprop_spread": "±",
    "probe_ms": "probe ms",
    "probe_spread": "±",
    "ratio": "ratio",
    "target": "target",
    "ray_ms": "Ray's objects ms",
}

REMARKS = [
    "A step in which nothing is computed: 2 workers fill their gradients, they are added up, SGD updates the weights, "
    "both have them again. distprop: as the coordinator hears of steps. probe: three bare processes, shared memory and "
    "sockets, one thread, weights updated in place; it checks nothing, tells nobody, and keeps no second version.",
    "Ray's objects: the same step as actor calls that push and pull through its object store.",
]


def measure(settings: Settings) -> list[Report]:
    """All sizes."""
    report = Report("Wire: push + reduce + update + pull", COLUMNS, remarks=REMARKS)
    with on_ray():
        for parameters in SIZES:
            settings.say(f"wire: {parameters} parameters")
            report.rows.append(_size(parameters, settings))
    return [report]


def _size(parameters: int, settings: Settings) -> dict[str, Any]:
    found: dict[str, list[float]] = {"distprop": [], "probe": [], "ray": []}
    with ExitStack() as stack:
        blueprint = idle_job(parameters, settings.workers).blueprint(IdleBlueprint)
        ours = stack.enter_context(closing(Driven(blueprint, settings.workers)))
        probe = stack.enter_context(closing(Probe(parameters, settings.workers)))
        objects = stack.enter_context(closing(Objects(parameters, settings.workers)))
        settle(settings.say)
        steps = int(np.clip(VALUES_A_BLOCK / parameters, 20, 1000)) // (4 if settings.quick else 1) + 10
        group = max(1, steps // 40)
        for side in (ours, probe):  # the kernel finds places for processes that have just been started
            side.run(steps)
        for _ in range(settings.rounds):
            found["distprop"] += samples(ours.run(steps).times, group)
            found["probe"] += samples(probe.run(steps), group)
            found["ray"] += samples(objects.run(max(12, steps // 8)), 1)
    return _row(parameters, found)


def _row(parameters: int, found: dict[str, list[float]]) -> dict[str, Any]:
    ours, probe = median(found["distprop"]), median(found["probe"])
    return {
        "parameters": parameters,
        "distprop_ms": ours,
        "distprop_spread": spread(found["distprop"]),
        "probe_ms": probe,
        "probe_spread": spread(found["probe"]),
        "ratio": ours / probe,
        "target": f"{SMALL_MS} ms" if parameters == SMALL else f"{TARGET} x",
        "ray_ms": median(found["ray"]),
    }
