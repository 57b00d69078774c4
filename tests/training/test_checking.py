"""Preflight: what is fine is said to be, what is not comes with a fix, and nothing is left behind."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from distprop.errors import AddressError
from distprop.report import CheckResult
from distprop.training import check, checking
from tests.runtime.small import small_job


def looked_at(job: dict[str, Any], **words: Any) -> dict[str, CheckResult]:
    return {result.name: result for result in check(job, **{"inline": True, **words})}


def test_a_good_job_is_fine_and_nothing_is_left(rows: str, here: Path) -> None:
    found = looked_at(small_job(rows, here / "kept", data__batch_size=64, data__shards=1))
    assert [name for name, result in found.items() if not result.ok] == []
    assert set(found) == {"data and model", "arithmetic", "memory", "gradients", "tracking", "checkpoints", "cluster"}
    assert list(here.iterdir()) == []


def test_a_checkpoint_folder_that_cannot_be_is_named(rows: str, here: Path) -> None:
    Path(here, "file").write_text("no folder")
    result = looked_at(small_job(rows, here / "file" / "below"))["checkpoints"]
    assert not result.ok and "file" in result.detail


def test_a_disk_without_room_is_named(rows: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "checkpoint_bytes", lambda _: 10**18)
    result = looked_at(small_job(rows, here))["checkpoints"]
    assert not result.ok and "checkpoint.dir" in result.fix


def test_bad_data_is_found_and_the_rest_is_still_looked_at(here: Path) -> None:
    found = looked_at(small_job("nowhere.parquet", here))
    assert not found["data and model"].ok and "does not exist" in found["data and model"].detail
    assert found["arithmetic"].ok and found["checkpoints"].ok and "gradients" not in found


def test_a_wrong_gradient_is_found(rows: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distprop.nn.network import Network

    forward = Network.forward

    def broken(self: Network, *arguments: Any) -> Any:
        outputs, backward = forward(self, *arguments)

        def wrong(dy: Any, g: Any) -> Any:
            dx = backward(dy, g)
            g[0] += 0.01
            return dx

        return outputs, wrong

    monkeypatch.setattr(Network, "forward", broken)
    result = looked_at(small_job(rows, here))["gradients"]
    assert not result.ok and "a gradient is wrong" in result.detail


def test_a_tracking_store_that_cannot_be_made_is_named(rows: str, here: Path) -> None:
    result = looked_at(small_job(rows, here, tracking={"uri": "sqlite:////no/such/place/m.db"}))["tracking"]
    assert not result.ok and result.fix


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_more_workers_than_cpus_is_a_warning(rows: str, here: Path) -> None:
    result = looked_at(small_job(rows, here), workers=1000, inline=False)["cluster"]
    assert result.ok and "share CPUs" in result.fix


def test_small_leaves_are_a_warning(rows: str, here: Path) -> None:
    result = looked_at(small_job(rows, here))["plan"]
    assert result.ok and result.fix and "leaves have 7 rows" in result.detail


class Node(NamedTuple):
    cpus: float


class Answers:
    """A connection to a cluster of two hosts."""

    closed = False
    nodes = (Node(4.0), Node(2.0))

    def close(self) -> None:
        self.closed = True


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_a_cluster_that_is_reached_is_counted_and_left(rows: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Answers()
    monkeypatch.setattr(checking, "connect", lambda _: connection)
    result = looked_at(small_job(rows, here), address="head:1", inline=False, workers=3)["cluster"]
    assert result.ok and result.detail == "head:1 (flag): 2 hosts, 6 CPUs for 3 workers" and connection.closed


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_a_cluster_that_does_not_answer_is_named(rows: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AddressError("no Ray cluster answers at head:1", "refused", "start one")

    monkeypatch.setattr(checking, "connect", refuse)
    result = looked_at(small_job(rows, here), address="head:1", inline=False)["cluster"]
    assert not result.ok and "head:1" in result.detail and result.fix == "start one"
