"""Who says where a job runs: flag, config, environment, embedded; in this order."""

from pathlib import Path
from typing import Any

import pytest

from distprop.config import load_job
from distprop.errors import UserError
from distprop.training.placing import Placement, available_cpus, place, require
from tests.runtime.small import small_job


def placed(cluster: dict[str, Any], *flags: Any, inline: bool = False) -> Placement:
    return place(load_job(small_job("rows.parquet", Path("kept"), cluster=cluster)), *flags, inline=inline)


def test_addresses_are_looked_for_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def where(cluster: dict[str, Any], flag: str | None) -> tuple[str | None, str]:
        found = placed(cluster, None, None, flag)
        return found.address, found.source

    assert where({}, None) == (None, "embedded")
    monkeypatch.setenv("RAY_ADDRESS", "environment:1")
    assert where({}, None) == ("environment:1", "RAY_ADDRESS")
    assert where({"address": "config:1"}, None) == ("config:1", "cluster.address")
    assert where({"address": "config:1"}, "flag:1") == ("flag:1", "flag")


def test_numbers_of_workers_are_looked_for_in_order() -> None:
    assert placed({}, None, None, None).workers == min(5, available_cpus())
    assert placed({"workers": 3}, None, None, None).workers == 3
    assert placed({"workers": {"min": 1, "max": 1}}, None, None, None).workers == 1
    assert placed({"workers": {"min": 4, "max": 9}}, None, None, None).workers == max(4, min(5, available_cpus()))
    found = placed({"workers": 3, "servers": 2}, 4, 3, None)
    assert (found.workers, found.servers) == (4, 3)


def test_a_range_takes_what_a_cluster_has() -> None:
    """How many CPUs it has is known when it is reached: all shards are wanted until then."""
    found = placed({"workers": {"min": 2, "max": 4}}, None, None, "cluster:1")
    assert (found.workers, found.fewest) == (4, 2)
    assert placed({"workers": {"min": 2, "max": 40}}, None, None, "cluster:1").workers == 5
    found = placed({}, None, None, "cluster:1")
    assert (found.workers, found.fewest) == (5, 1)
    assert placed({"workers": {"min": 2, "max": 4}}, 3, None, "cluster:1").fewest is None


def test_inline_is_one_worker_unless_more_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "environment:1")
    assert placed({}, None, None, None, inline=True) == Placement(1, 1, None, "inline", inline=True)
    assert placed({}, 3, 2, None, inline=True) == Placement(3, 2, None, "inline", inline=True)


def test_what_is_not_installed_is_named_with_the_extra_that_has_it() -> None:
    with pytest.raises(UserError, match="no_such_package is not installed") as caught:
        require("no_such_package", "ray", "train inline")
    assert "distprop-train[ray]" in caught.value.fix


def test_the_callers_ray_comes_after_what_was_said_and_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "env:1")

    def where(flag: str | None, cluster: str | None, inline: bool = False) -> tuple[str | None, str]:
        job = load_job(small_job("rows.parquet", Path("kept"), cluster={"address": cluster}))
        placement = place(job, None, None, flag, inline, "caller:3")
        return placement.address, placement.source

    assert where(None, None) == ("caller:3", "the caller's ray.init()")
    assert where("flag:4", None) == ("flag:4", "flag")
    assert where(None, "config:2") == ("config:2", "cluster.address")
    assert where(None, None, inline=True) == (None, "inline")


@pytest.mark.parametrize("workers", [-3, "2", 1.5, True])
def test_what_is_no_number_of_workers_is_refused(workers: Any) -> None:
    with pytest.raises(UserError, match="workers is"):
        place(load_job(small_job("rows.parquet", Path("kept"))), workers, None, None, inline=True)
