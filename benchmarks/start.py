"""start: how long it takes until distprop can be used, can be asked, and has taken its first step."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import OURS
from benchmarks.figures import median, spread
from benchmarks.part import Report, Settings

HOME = Path(__file__).parents[1]
CONFIG = HOME / "configs" / "digits.yaml"

COLUMNS = {"what": "what", "seconds": "seconds", "spread": "±", "target": "target"}

REMARKS = [
    "import: without Python's own start. First step: from the call of Python to the event of the first step, of "
    "configs/digits.yaml, its data in the cache, without tracking."
]

FIRST_STEP = """
import sys, time
import distprop as dp

def heard(event):
    if type(event).__name__ == "StepEnded":
        print("first step", time.time(), flush=True)
        raise dp.Stop("seen")

cluster = {"inline": True} if sys.argv[2] == "inline" else {"workers": 2}
quiet = {"tracking.enabled": False, "checkpoint.dir": sys.argv[3]}
dp.train(sys.argv[1], overrides=quiet, listeners=[heard], **cluster)
"""


def measure(settings: Settings) -> list[Report]:
    """Import, help, first step."""
    times = 3 if settings.quick else 7
    report = Report("Start", COLUMNS, remarks=REMARKS)
    bare = [_seconds([sys.executable, "-c", "pass"]) for _ in range(times)]
    imports = [_seconds([sys.executable, "-c", "import distprop"]) for _ in range(times)]
    helps = [_seconds([sys.executable, "-m", "distprop", "--help"]) for _ in range(times)]
    report.rows.append(_row("python, nothing imported", bare, None))
    report.rows.append(_row("import distprop", [one - median(bare) for one in imports], 0.15))
    report.rows.append(_row("distprop --help", helps, 0.4))
    for place in ("inline", "ray"):
        settings.say(f"start: first step, {place}")
        report.rows.append(_row(f"first step, {place}", _first_steps(place, 1 if settings.quick else 3), None))
    return [report]


def _row(what: str, found: list[float], target: float | None) -> dict[str, Any]:
    return {"what": what, "seconds": median(found), "spread": spread(found), "target": target}


def _first_steps(place: str, times: int) -> list[float]:
    """One more than is counted: the first fills the cache."""
    with tempfile.TemporaryDirectory(prefix="distprop-bench-") as folder:
        return [_first_step(place, folder) for _ in range(times + 1)][1:]


def _first_step(place: str, folder: str) -> float:
    before = time.time()
    said = _call([sys.executable, "-c", FIRST_STEP, str(CONFIG), place, folder], may_fail=True)
    moments = [line.split()[-1] for line in said.splitlines() if line.startswith("first step")]
    if not moments:
        raise RuntimeError(f"no first step was taken: {said[-1000:]}")
    return float(moments[0]) - before


def _seconds(command: Sequence[str]) -> float:
    before = time.perf_counter()
    _call(command)
    return time.perf_counter() - before


def _call(command: Sequence[str], may_fail: bool = False) -> str:
    """As a user's shell would: without the environment that this process computes with."""
    inherited = {key: value for key, value in os.environ.items() if key not in (*OURS, "RAY_ADDRESS")}
    ended = subprocess.run(
        command, env=inherited, cwd=HOME, text=True, timeout=300, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if ended.returncode and not may_fail:
        raise RuntimeError(f"{command}: {ended.stdout[-1000:]}")
    return ended.stdout
