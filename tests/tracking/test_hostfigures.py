import math
import sys

from distprop.runtime.hostfigures import sample_host


def test_a_host_has_figures_in_mlflows_words():
    figures = sample_host()
    assert {"cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_usage_percentage"} <= figures.keys()
    assert all(math.isfinite(value) and value >= 0 for value in figures.values())
    assert 0 < figures["system_memory_usage_percentage"] <= 100


def test_without_psutil_there_are_no_figures(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert sample_host() == {}
