"""Where a script has called ray.init(), `train` uses that Ray, and leaves it up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ray.conftest import Running
from tests.runtime.small import small_job, written

pytestmark = pytest.mark.ray

SCRIPT = """
import json, sys
import numpy  # as scripts do: the training is in a child, whose arithmetic is in order
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
import distprop as dp
job = json.loads(sys.argv[2])
result = dp.train(job, workers=2)
found = {one.name: one.detail for one in dp.check(job, workers=2)}
flag = dp.train(job, inline=True)
up = ray.is_initialized() and ray.get(ray.remote(lambda: 7).remote())
print(json.dumps([result.address_source, result.status, result.digest == flag.digest, found["cluster"], up]))
"""


def test_the_callers_ray_is_used_and_left_up(cluster: Running, tmp_path: Path) -> None:
    job = small_job(written(tmp_path), tmp_path / "kept")
    command = [sys.executable, "-c", SCRIPT, cluster.address, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    source, status, same, checked, up = json.loads(done.stdout.splitlines()[-1])
    assert (source, status, same, up) == ("the caller's ray.init()", "finished", True, 7)
    assert checked.startswith(cluster.address)
