"""`distprop ui`: MLflow's pages, and what is left when it ends."""

import shutil
import signal
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from distprop.tracking.ui import free_port
from tests.scenarios.conftest import Desk

pytestmark = pytest.mark.scenario


def is_up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def test_the_pages_are_served_at_the_port_and_sigterm_leaves_no_process(desk: Desk, new_store: Path) -> None:
    shutil.copy(new_store, desk.folder / "mlflow.db")
    port = free_port()
    pages = desk.start("ui", "--port", port)
    pages.wait_for(lambda: is_up(port), "the pages were there")
    assert len(desk.alive()) > 2, "a server that has processes of its own"
    second = desk.run("ui", "--port", port)
    assert (second.code, "distprop ui --port" in second.err) == (2, True)
    assert is_up(port)
    pages.process.send_signal(signal.SIGTERM)
    ended = pages.wait()
    assert ended.code == 0, ended
    assert f"http://127.0.0.1:{port}/" in ended.out
    end = time.monotonic() + 30
    while desk.alive():
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.05)
