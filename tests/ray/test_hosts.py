"""Two hosts with a network between them give the digest of one."""

import json
import secrets
import sys
from pathlib import Path

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
