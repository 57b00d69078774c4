"""Two hosts: what their link has to carry, and what is said where there is none."""

import pytest

from benchmarks import hosts
from benchmarks.hosts import SIZES, Ran
from benchmarks.link import HOSTS
from benchmarks.part import Settings
from distprop.protocol.plan import cut

QUIET = Settings(quick=True, say=lambda _: None)


def test_a_host_sends_its_gradients_of_the_others_slice_and_the_weights_of_its_own() -> None:
    values = 10 * [1000]  # blocks
    slices = [len(one) * 1000 for one in cut(values, HOSTS)]
    sent = [4 * (sum(slices) - own) + 4 * own * (HOSTS - 1) for own in slices]
    assert sent == HOSTS * [hosts.computed_bytes(10_000)]


def test_forty_megabytes_take_the_link_a_third_of_a_second() -> None:
    assert hosts.limit_ms(10_000_000) == pytest.approx(320.0)


def test_what_passes_at_once_is_little_beside_a_step() -> None:
    assert [hosts.bucket(size) for size in SIZES] == [32, 125, 256]


def test_a_row_has_shares_of_the_link_and_bytes_a_step() -> None:
    times = [0.4 * step for step in range(10)]
    found = hosts.row(10_000_000, 2, [Ran(times, 42e6, 41e6)])
    assert found["distprop_ms"] == pytest.approx(400.0)
    assert found["share"] == pytest.approx(0.8)
    assert (found["sent_mb"], found["received_mb"], found["computed_mb"]) == (42.0, 41.0, 40.0)
    assert found["beyond"] == pytest.approx(0.05)


def test_without_namespaces_there_are_no_rows_but_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.hosts.missing", lambda: "network namespaces need root")
    (report,) = hosts.measure(QUIET)
    assert report.rows == []
    assert report.remarks[-1] == "Nothing was measured: network namespaces need root."
