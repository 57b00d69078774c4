"""A job whose processes are all killed at once leaves nothing behind; one that loses Ray's own processes goes on."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from distprop.training import train
from tests.scenarios import held
from tests.scenarios.conftest import Desk
from tests.scenarios.making import job, write_rows

pytestmark = [pytest.mark.scenario, pytest.mark.ray]

SHARED = Path("/dev/shm")


def kill_all(desk: Desk) -> None:
    """Signal 9 to every process of the job, Ray's included, until none is left: some start others meanwhile."""
    end, killed = time.monotonic() + 60.0, set[int]()
    while alive := desk.alive():
        assert time.monotonic() < end, f"still alive: {alive}"
        killed.update(alive)
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    while holding := [pid for pid in killed if _still_holds(pid)]:
        assert time.monotonic() < end, f"still ending: {holding}"
        time.sleep(0.05)


def _still_holds(pid: int) -> bool:
    """A process that ends forgets who it was first, and lets go of its sockets only after that."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def left_in(desk: Desk, known: set[Path]) -> list[Path]:
    """New files that all processes share, but for Ray's: its session folder with logs, ports and dead sockets stays."""
    own, rays = Path(desk.variables["TMPDIR"]), Path(desk.variables["RAY_TMPDIR"])
    named = [path for path in (*SHARED.rglob("*"), *rays.rglob("*")) if "distprop" in path.name]
    return [path for path in (*own.rglob("*"), *named) if path not in known]


def test_killed_all_at_once_a_job_leaves_nothing_behind(desk: Desk) -> None:
    known = set(SHARED.rglob("*"))
    write_rows(desk.folder / "rows.parquet")
    desk.write("job.yaml", job(train={"epochs": 10_000}))
    command = desk.start("train", "job.yaml", "--workers", "2", "--servers", "2")
    command.wait_for(desk.checkpoints, "the first checkpoint")
    family = desk.alive()
    memory, listeners, files = held.memory(family), held.listeners(family), held.files(family, [SHARED])
    assert len(memory) >= 4, "two servers and two workers have a segment each"
    assert listeners, "servers listen"
    assert memory <= held.memory(held.everybody())

    kill_all(desk)
    assert not memory & held.memory(held.everybody())
    assert not listeners & held.listening()
    assert not [file for file in files if file.exists()]
    assert not left_in(desk, known)
    assert desk.checkpoints(), "what was kept is there to go on with"


@pytest.mark.parametrize("process", ["raylet", "gcs_server"])
def test_a_job_starts_its_own_ray_again_where_a_process_of_it_is_killed(process: str, desk: Desk) -> None:
    rows = write_rows(desk.folder / "rows.parquet")
    long: dict[str, Any] = job(train={"epochs": 150}, tracking={"enabled": False})
    desk.write("job.yaml", long)
    command = desk.start("train", "job.yaml", "--workers", "2", "--json")
    command.wait_for(desk.checkpoints, "the first checkpoint")
    (victim,) = (one for one in map(psutil.Process, desk.alive()) if one.name() == process)
    victim.kill()
    ended = command.wait()
    assert ended.code == 0, ended.err
    assert "starting Ray again" in ended.err
    long["data"]["train"] = str(rows)
    calm = train({**long, "checkpoint": {"dir": str(desk.folder / "calm")}}, inline=True)
    assert ended.json["digest"] == calm.digest
