"""A link ends with all that runs on its hosts."""

import subprocess
import tempfile
from pathlib import Path

import pytest

from benchmarks import nodes
from benchmarks.link import Link, missing


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    """Links are made by root, where the kernel has what it takes."""
    if why := missing():
        pytest.skip(why)


def hosts() -> set[str]:
    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True)
    return {line.split()[0] for line in listed.stdout.splitlines()}


def run_and_leave(link: Link) -> "subprocess.Popen[bytes]":
    with link:
        assert {link.prefix(0)[3], link.prefix(1)[3]} <= hosts()
        link.shape(256)
        running = subprocess.Popen([*link.prefix(1), "sleep", "60"])
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.2)
        return running


def test_what_runs_on_a_host_ends_with_the_link() -> None:
    link = Link(1.0)
    running = run_and_leave(link)
    assert running.wait(5) == -9
    assert not {link.prefix(0)[3], link.prefix(1)[3]} & hosts()


def test_a_node_that_does_not_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nodes, "RAY", ("sh", "-c", "echo no such port >&2; exit 3"))
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(tmp_path / "ray"))
    (tmp_path / "ray").mkdir()
    with Link(1.0) as link, pytest.raises(RuntimeError, match="no such port"), nodes.ray_nodes(link, 1):
        pass
    assert list(tmp_path.iterdir()) == []
