"""What an existing cluster cannot hold is refused before any actor starts."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from distprop.errors import UserError
from distprop.runtime.ray.connecting import connect
from distprop.training import train
from tests.ray.conftest import CPUS, Running
from tests.ray.making import job, write_rows

pytestmark = pytest.mark.ray


TRAIN = "import sys, distprop.runtime.ray.connecting as c; c.connect(sys.argv[1], 1)"


def test_a_range_of_workers_takes_what_the_cluster_has_and_refuses_less_than_its_fewest(cluster: Running) -> None:
    with closing(connect(cluster.address, cpus=1)) as connection:
        assert connection.afford(CPUS + 5, fewest=2) == CPUS
        assert connection.afford(CPUS - 1, fewest=2) == CPUS - 1
        with pytest.raises(UserError, match=f"{CPUS + 1} workers were asked for, the cluster has {CPUS} CPUs"):
            connection.afford(CPUS + 5, fewest=CPUS + 1)


def test_a_cluster_that_asks_for_another_token_says_so(cluster: Running) -> None:
    """In a process of its own: Ray reads its token once."""
    stranger = {**os.environ, "RAY_AUTH_TOKEN": "f" * 64}
    command = [sys.executable, "-c", TRAIN, cluster.address]
    ended = subprocess.run(command, env=stranger, capture_output=True, text=True, timeout=100)
    assert "does not let us in" in ended.stderr
    assert "RAY_AUTH_TOKEN" in ended.stderr


def test_more_workers_than_the_cluster_has_cpus_are_refused(cluster: Running, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.parquet")
    config = {**job(rows, tmp_path / "kept"), "tracking": {"enabled": True}}
    with pytest.raises(UserError, match=f"{CPUS + 1} workers were asked for, the cluster has {CPUS} CPUs"):
        train(config, workers=CPUS + 1, address=cluster.address)
    assert not cluster.actors("Worker") + cluster.actors("Server")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
