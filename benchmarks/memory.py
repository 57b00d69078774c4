"""The memory of a host's processes while a job runs, beside what the design says it is."""

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from benchmarks.driven import Driven
from benchmarks.idle import IdleBlueprint, idle_job
from benchmarks.part import Report

ROLES = {"ray::Server": "server", "ray::Worker": "worker"}
STEPS = 6

COLUMNS = {
    "vary": "memory of",
    "process": "process",
    "parameters": "parameters",
    "private_mb": "own MB",
    "shared_mb": "shared MB",
    "pss_mb": "share of all MB",
    "expected_mb": "arrays, computed",
}

REMARKS = [
    "After a few steps of Adam, one leaf a worker that only fills its gradient. share of all: own memory and this "
    "process's share of what several hold; the line of the host is the sum. arrays: two versions of weights, two of "
    "the optimizer's state, a gradient a worker; the rest is Python, NumPy, pyarrow and Ray.",
]


def memory_rows(parameters: int, workers: int) -> Report:
    """Each process of a host with so many workers, and the host."""
    blueprint = idle_job(parameters, workers, optimizer="adam").blueprint(IdleBlueprint)
    arena = 4 * parameters / 1e6
    computed = {"server": (2 + 2 * 2) * arena, "worker": arena}
    with closing(Driven(blueprint, workers)) as driven:
        driven.run(STEPS)
        rows: list[dict[str, Any]] = [
            {"vary": "memory", "process": role, "parameters": parameters, **memory, "expected_mb": computed[role]}
            for role, memory in sorted(_processes(), key=lambda one: one[0])
        ]
    host = {key: sum(row[key] for row in rows) for key in ("private_mb", "pss_mb", "expected_mb")}
    rows.append({"vary": "memory", "process": "host", "parameters": parameters, **host})
    return Report("Scale: memory", COLUMNS, rows, REMARKS)


def _processes() -> Iterator[tuple[str, dict[str, float]]]:
    """The servers and workers below this process."""
    parents = dict(_parents())
    for pid in parents:
        with suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            if title in ROLES and _descends(pid, parents):
                yield ROLES[title], _memory(pid)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = (entry / "stat").read_text()
                yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


def _memory(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes: dict[str, Any] = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    sums = {
        "private_mb": kilobytes["Private_Clean"] + kilobytes["Private_Dirty"],
        "shared_mb": kilobytes["Shared_Clean"] + kilobytes["Shared_Dirty"],
        "pss_mb": kilobytes["Pss"],
    }
    return {name: value * 1024 / 1e6 for name, value in sums.items()}
