"""Kills processes of whole trainings at random moments, and asks of each what the README promises.

    python -m tests.scenarios.kills worker --kills 50 --a-job 5 --seed 1

Trains MNIST with test rows, again and again; `worker`, `server` and `raylet` on this machine, `host` on three hosts
in network namespaces, of which one that is not the driver's is killed whole and started again. Each job must end
FINISHED with the digest and the test metrics of the calm one, and leave no process and no file but its own.
"""

import argparse
import json
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.ray.namespaces import Hosts, missing

ROOT = Path(__file__).parents[2]
CONFIG, DATA = ROOT / "configs" / "mnist.yaml", ROOT.parent / "shared" / "data"
CHANGES = ["--set", "train.epochs=3", "--set", "checkpoint.every=50 steps", "--set", "cluster.patience_seconds=5"]
OWN = {"checkpoints", "mlflow.db", "mlruns"}
LIMIT = 400.0  # seconds that a job may take
REST = 5.0  # seconds after a job in which its last processes may end


@dataclass
class Outcome:
    """How one training ended."""

    killed: list[float]  # seconds after its start
    seconds: float
    wrong: list[str] = field(default_factory=list)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "distprop", "train", str(CONFIG), "--json", *CHANGES, *words]


def calm(folder: Path) -> dict[str, Any]:
    """The job without a fault, in one process."""
    done = subprocess.run(command("--inline"), cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def family(mark: str) -> list[psutil.Process]:
    """All processes that descend from a command that was started with the mark, whoever is their parent by now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SCENARIO") == mark:
                found.append(process)
    return found


def named(mark: str, kind: str) -> list[psutil.Process]:
    title = {"worker": "ray::Worker", "server": "ray::Server"}.get(kind)
    found = []
    for process in family(mark):
        with suppress(psutil.Error):
            if process.name() == kind or (title and process.cmdline()[:1] and process.cmdline()[0].startswith(title)):
                found.append(process)
    return found


def kill_one(mark: str, kind: str, chance: random.Random) -> bool:
    """Signal 9 to one of them; whether there was one."""
    victims = named(mark, kind)
    if victims:
        with suppress(psutil.NoSuchProcess):
            chance.choice(victims).send_signal(signal.SIGKILL)
    return bool(victims)


def disturb(
    training: "subprocess.Popen[str]", moments: list[float], strike: Callable[[], bool]
) -> tuple[list[float], float]:
    """Strike at these moments, in seconds after the start, until the training ends; when it did, and when it ended."""
    began, struck = time.monotonic(), []
    for moment in sorted(moments):
        while training.poll() is None and time.monotonic() - began < moment:
            time.sleep(0.02)
        if training.poll() is None and strike():
            struck.append(time.monotonic() - began)
    training.wait(LIMIT)
    return struck, time.monotonic() - began


def faults_of(ended: int, folder: Path, expected: dict[str, Any], mark: str, hosts: "Hosts | None") -> list[str]:
    """What of the promise a job did not keep."""
    wrong = [] if ended == 0 else [f"exit code {ended}: {(folder.parent / 'err').read_text()[-600:]}"]
    if ended == 0:
        found = json.loads((folder.parent / "out").read_text())
        wrong += [f"{key}: {found[key]}" for key in ("status", "digest", "metrics") if found[key] != expected[key]]
        wrong += [] if "test/loss" in found["metrics"] else ["no test metrics"]
    end = time.monotonic() + REST
    while (left := [] if hosts else family(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    wrong += [f"still runs: {left}"] if left else []
    files = {path.name for path in folder.iterdir()} - OWN
    return wrong + ([f"left behind: {sorted(files)}"] if files else [])


def one_job(kind: str, kills: int, chance: random.Random, expected: dict[str, Any], typical: float) -> Outcome:
    """A training with `kills` kills at moments drawn over its typical time."""
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp")))
        folder, mark = room / "here", uuid.uuid4().hex
        folder.mkdir()
        (room / "tmp").mkdir()
        variables = {**os.environ, "SCENARIO": mark, "TMPDIR": str(room / "tmp"), "RAY_TMPDIR": str(room)}
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        out, err = (stack.enter_context((room / name).open("w")) for name in ("out", "err"))
        moments = [chance.uniform(1.0, typical) for _ in range(kills)]
        how: dict[str, Any] = {"cwd": folder, "stdout": out, "stderr": err}
        hosts = None
        if kind == "host":
            os.environ.update({name: variables[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")})
            hosts = stack.enter_context(Hosts(3))
            address = hosts.start_ray(cpus=2)
            training = hosts.start(0, command("--workers", "4", "--address", address), env=variables, **how)
            strike: Callable[[], bool] = lambda: strike_host(hosts, chance)  # noqa: E731
        else:
            training = subprocess.Popen(command("--workers", "2"), env=variables, text=True, **how)
            strike = lambda: kill_one(mark, kind, chance)  # noqa: E731
        try:
            struck, seconds = disturb(training, moments, strike)
        except subprocess.TimeoutExpired:
            wrong = [f"still running after {LIMIT} s: {(room / 'err').read_text()[-600:]}"]
            struck, seconds = moments, LIMIT
        else:
            wrong = faults_of(training.returncode, folder, expected, mark, hosts)
        for process in family(mark):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return Outcome(struck, seconds, wrong)


def strike_host(hosts: "Hosts", chance: random.Random) -> bool:
    """End all processes of a host that is not the driver's, and start its Ray again."""
    victim = chance.choice((1, 2))
    hosts.kill(victim)
    hosts.start_node(victim, cpus=2)
    return True


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["worker", "server", "raylet", "host"])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--a-job", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.kind == "host" and (why := missing()):
        sys.exit(why)
    os.environ["DATA"] = str(DATA)
    chance, outcomes = random.Random(asked.seed), list[Outcome]()
    with tempfile.TemporaryDirectory() as folder:
        expected = calm(Path(folder))
    typical = 15.0
    while sum(len(one.killed) for one in outcomes) < asked.kills:
        outcomes.append(one_job(asked.kind, asked.a_job, chance, expected, typical))
        typical = statistics.median(one.seconds for one in outcomes)
        last = outcomes[-1]
        say(f"job {len(outcomes)}: {len(last.killed)} kills, {last.seconds:.0f} s,", *last.wrong or ["as calm"])
    wrong = sum(bool(one.wrong) for one in outcomes)
    say(f"{asked.kind}: {sum(len(one.killed) for one in outcomes)} kills, {len(outcomes)} jobs, {wrong} not as calm")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
