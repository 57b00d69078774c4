"""Two hosts with a network between them give the digest of one, whatever becomes of one of them."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distprop.training import train
from tests.ray.making import job, write_rows
from tests.ray.namespaces import Hosts, missing

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def test_two_hosts_give_the_digest_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := missing():
        pytest.skip(why)
    config = job(write_rows(tmp_path / "rows.parquet"), tmp_path / "checkpoints")
    expected = train(config, inline=True)
    (tmp_path / "job.yaml").write_text(json.dumps(config))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with Hosts(2) as hosts:
        address = hosts.start_ray(cpus=2)
        command = [sys.executable, "-m", "distprop", "train", str(tmp_path / "job.yaml"), "--workers", "4", "--json"]
        done = hosts.run(0, [*command, "--address", address], timeout=150)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["servers"] == 2
    assert found["digest"] == expected.digest
    assert found["metrics"] == expected.metrics


def wait_until(true: Callable[[], object], training: "subprocess.Popen[str]", what: str) -> None:
    end = time.monotonic() + 100
    while not true():
        assert training.poll() is None, f"ended before {what}"
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str | None]:
    """A job of some seconds with test rows, and the digest of its calm run."""
    folder = tmp_path_factory.mktemp("long")
    config = job(write_rows(folder / "rows.parquet"), folder / "calm", "sgd")
    config["data"]["test"] = config["data"]["train"]
    config |= {"train": {"epochs": 200}, "cluster": {"patience_seconds": 3.0}}
    return config, train(config, inline=True).digest


@pytest.mark.parametrize("fate", ["killed", "cut off for a while"])
def test_a_lost_host_costs_the_steps_since_the_last_checkpoint(
    fate: str, long_job: tuple[dict[str, Any], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := missing():
        pytest.skip(why)
    config, digest = long_job
    kept = tmp_path / "checkpoints"
    (tmp_path / "job.yaml").write_text(json.dumps({**config, "checkpoint": {"every": "50 steps", "dir": str(kept)}}))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with Hosts(2) as hosts, (tmp_path / "err").open("w") as err, (tmp_path / "out").open("w") as out:
        address = hosts.start_ray(cpus=2)
        command = [sys.executable, "-m", "distprop", "train", str(tmp_path / "job.yaml"), "--workers", "4", "--json"]
        training = hosts.start(0, [*command, "--address", address], stdout=out, stderr=err)
        wait_until(lambda: list(kept.glob("*/*/manifest.json")), training, "the first checkpoint")
        if fate == "killed":
            hosts.kill(1)
        else:
            hosts.cut(1)
        wait_until(lambda: "going on" in (tmp_path / "err").read_text(), training, "the loss is noticed")
        if fate != "killed":
            hosts.mend(1)
        assert training.wait(150) == 0, (tmp_path / "err").read_text()
    found = json.loads((tmp_path / "out").read_text().splitlines()[-1])
    assert found["status"] == "finished"
    if fate == "killed":
        assert (found["workers"], found["servers"]) == (2, 1), "the job goes on where there are CPUs"
    assert "test/loss" in found["metrics"]
    assert found["digest"] == digest
