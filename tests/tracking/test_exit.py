import os
import subprocess
import sys

import pytest

JOB = """
import sys, atexit
from distprop.tracking.tracker import MlflowTracker
from tests.tracking.events import STARTED, steps
from tests.tracking.fakes import FakeStore
store = FakeStore()
atexit.register(lambda: print(store.status, len(store.curve("train/loss"))))
tracker = MlflowTracker("http://away", "exp", "small", spool_dir=sys.argv[1], store=store)
for event in (STARTED, *steps(1, 3)):
    tracker(event)
"""


@pytest.mark.parametrize("ending", ["", "raise ValueError('a bug')", "sys.exit(3)"])
def test_a_process_that_forgets_to_close_leaves_no_running_run(tmp_path, ending):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", JOB + ending, str(tmp_path / "spool")]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ran.stdout.split() == ["FAILED", "3"], ran.stderr
    assert not (tmp_path / "spool").exists()
