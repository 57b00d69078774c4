"""The memory of a host's processes while a job runs, beside what the design says it is."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from benchmarks.driven import Driven
from benchmarks.idle import IdleBlueprint, idle_job
from benchmarks.part import Report

Process = tuple[str, dict[str, float]]
"""Its role, and its memory in MB."""
ROLES = {"ray::Server": "server", "ray::Worker": "worker"}
STEPS = 6
FEW = 1000  # parameters of a job that has next to no arrays

COLUMNS = {
    "vary": "memory of",
    "process": "process",
    "parameters": "parameters",
    "private_mb": "own MB",
    "shared_mb": "shared MB",
    "pss_mb": "share of all MB",
    "expected_mb": "arrays, computed",
    "base_mb": "without arrays MB",
    "beyond_mb": "beyond both MB",
}

REMARKS = [
    "After a few steps of Adam, one leaf a worker that only fills its gradient. share of all: own memory and this "
    "process's share of what several hold; the line of the host is the sum. arrays: two versions of weights, two of "
    "the optimizer's state, a gradient a worker. without arrays: the share of all in a job of "
    f"{FEW:,} parameters: Python, NumPy, pyarrow and Ray. beyond both: what neither explains.",
]


def memory_rows(parameters: int, workers: int) -> Report:
    """Each process of a host with so many workers, and the host."""
    base = {role: memory["pss_mb"] for role, memory in _of_job(FEW, workers)}
    return Report("Scale: memory", COLUMNS, lines(parameters, _of_job(parameters, workers), base), REMARKS)


def lines(parameters: int, processes: list[Process], base: Mapping[str, float]) -> list[dict[str, Any]]:
    """A line of the table for each process, and one for the host. base: by role, what a process has without arrays."""
    arena = 4 * parameters / 1e6
    computed = {"server": (2 + 2 * 2) * arena, "worker": arena}
    rows: list[dict[str, Any]] = [
        {"process": role, **memory, "expected_mb": computed[role], "base_mb": base[role]} for role, memory in processes
    ]
    host = {key: sum(row[key] for row in rows) for key in ("private_mb", "pss_mb", "expected_mb", "base_mb")}
    host["beyond_mb"] = host["pss_mb"] - host["expected_mb"] - host["base_mb"]
    return [{"vary": "memory", "parameters": parameters, **row} for row in (*rows, {"process": "host", **host})]


def _of_job(parameters: int, workers: int) -> list[Process]:
    blueprint = idle_job(parameters, workers, optimizer="adam").blueprint(IdleBlueprint)
    with closing(Driven(blueprint, workers)) as driven:
        driven.run(STEPS)
        return sorted(_processes(), key=lambda one: one[0])


def _processes() -> Iterator[Process]:
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
