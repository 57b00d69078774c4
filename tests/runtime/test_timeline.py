"""Where time goes: told by process and by layer, and the numbers are those of a job that nobody watches."""

import json
from pathlib import Path

import pytest

from distprop import events
from distprop.protocol.messages import Address
from distprop.runtime import timeline
from distprop.runtime.timeline import LayerClock, Recorder, Span, Spans, Timeline
from tests.runtime.small import Ran, run, small_job, written

IMAGES = [
    {"reshape": [6, 1]},
    {"conv1d": {"channels": 4, "kernel": 3}},
    "relu",
    {"max_pool1d": 2},
    "flatten",
    {"residual": [{"dense": 12}, "tanh"]},
    {"dense": 3},
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("rows"))


def profiled(rows: str, here: Path, **more: object) -> Ran:
    return run(small_job(rows, here, model=IMAGES), 2, (0, 1), profile=True, **more)  # type: ignore[arg-type]


def test_watching_layers_changes_no_bit(rows: str, tmp_path: Path) -> None:
    watched, alone = profiled(rows, tmp_path), run(small_job(rows, tmp_path, model=IMAGES), 2, (0, 1))
    assert watched.numbers == alone.numbers
    assert alone.result.layer_shares == {} and not alone.of(events.ProfileTaken)


def test_every_layer_has_a_share_of_both_ways(rows: str, tmp_path: Path) -> None:
    shares = profiled(rows, tmp_path).result.layer_shares
    names = ["0.reshape", "1.conv1d", "2.relu", "3.max_pool1d", "4.flatten", "5.residual", "6.dense"]
    assert list(shares) == names, "as `show` names them"
    assert sum(share for ways in shares.values() for share in ways.values()) == pytest.approx(1.0)
    assert all(set(shares[name]) == {"forward", "backward"} for name in names[1:])
    assert set(shares["0.reshape"]) == {"forward"}, "gradients go no further down than the first weights"


def test_the_trace_has_layers_inside_of_what_workers_compute(rows: str, tmp_path: Path) -> None:
    (taken,) = profiled(rows, tmp_path).of(events.ProfileTaken)
    spans = [row for row in json.loads(taken.trace)["traceEvents"] if row["ph"] == "X"]
    inner = [row for row in spans if row["name"] == "6.dense backward"]
    outer = [row for row in spans if row["name"] == "compute"]
    assert inner
    for row in inner:
        assert any(
            one["pid"] == row["pid"]
            and one["ts"] - 1 <= row["ts"]
            and row["ts"] + row["dur"] <= one["ts"] + one["dur"] + 1
            for one in outer
        )
    assert set(taken.shares) == {"compute"}, "layers are no work of their own"


def test_sums_go_on_where_a_trace_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1, 100))
    monkeypatch.setattr(timeline.time, "time", lambda: float(next(now)))
    clock = LayerClock(_left=2)
    for _ in range(5):
        clock.note("0.dense", "forward", clock.now())
    spans, seconds = clock.take()
    assert (len(spans), seconds) == (2, {"0.dense": {"forward": 5.0}})
    assert clock.take() == ((), {})


def test_shares_are_of_all_workers() -> None:
    whole = Timeline()
    for worker, seconds in enumerate((1.0, 2.0)):
        told = {"10.dense": {"forward": seconds}, "2.dense": {"forward": 0.5, "backward": seconds}}
        whole.add(Spans(Address("worker", worker), (Span("compute", 0.0, 4.0),), (), told))
    assert list(whole.layer_shares()) == ["2.dense", "10.dense"]
    assert whole.layer_shares()["2.dense"] == {"forward": 1.0 / 7.0, "backward": 3.0 / 7.0}
    assert Timeline().layer_shares() == {}


def test_what_is_off_notes_nothing() -> None:
    recorder = Recorder()
    with recorder.span(dict):
        pass
    assert recorder.take(Address("worker", 0)) == Spans(Address("worker", 0), ())
