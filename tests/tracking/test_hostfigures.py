import math
import sys
from collections import namedtuple

import psutil
import pytest

from distprop.runtime.hostfigures import HostSampler

Counters = namedtuple("Counters", ["bytes_recv", "bytes_sent"])


def test_a_host_has_figures_in_mlflows_words():
    figures = HostSampler().sample()
    assert {"cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_usage_percentage"} <= figures.keys()
    assert all(math.isfinite(value) and value >= 0 for value in figures.values())
    assert 0 < figures["system_memory_usage_percentage"] <= 100


def network(sampler):
    return {name: value for name, value in sampler.sample().items() if name.startswith("network_")}


def test_network_figures_are_rates_since_the_sample_before(monkeypatch):
    counted = iter([Counters(7_000_000_000, 5_000_000_000), Counters(7_040_000_000, 5_010_000_000)])
    monkeypatch.setattr(psutil, "net_io_counters", lambda: next(counted))
    times = iter([100.0, 120.0])
    sampler = HostSampler(lambda: next(times))
    assert network(sampler) == {}, "what was sent since the machine started says nothing of the job"
    rates = network(sampler)
    assert rates == {
        "network_receive_megabytes_per_second": pytest.approx(2.0),
        "network_transmit_megabytes_per_second": pytest.approx(0.5),
    }


def test_a_host_without_network_has_the_other_figures(monkeypatch):
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    sampler = HostSampler()
    assert "disk_usage_percentage" in sampler.sample()
    assert network(sampler) == {}


def test_without_psutil_there_are_no_figures(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert HostSampler().sample() == {}
