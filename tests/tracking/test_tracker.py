import atexit
import logging
import threading
import time

import pytest

from distprop.errors import AddressError, CheckpointError
from distprop.events import RunEnded, Stop
from distprop.model import load_model
from distprop.tracking import delivery
from distprop.tracking.sync import sync
from distprop.tracking.tracker import MlflowTracker
from tests.model.cases import numbers
from tests.tracking.events import STARTED, ending, step, steps
from tests.tracking.fakes import FakeStore

LOSSES = [(version, 1 / version) for version in range(1, 9)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(delivery, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(delivery, "GRACE", 0.2)


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def make(tmp_path, store):
    def tracker(**changes):
        return MlflowTracker("http://away", "exp", "small", spool_dir=tmp_path / "spool", store=store, **changes)

    return tracker


def tell(tracker, *events):
    for event in events:
        tracker(event)


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_a_job_is_told_whole_in_order_and_once(make, store, tmp_path):
    folder = numbers().save(tmp_path / "model")
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending(str(folder)))
    summary = tracker.close()
    assert store.curve("train/loss") == LOSSES
    assert store.curve("valid/accuracy") == [(4, 0.54), (8, 0.58)]
    assert store.curve("system/h/cpu_utilization_percentage") == [(5, 12.5)]
    assert store.curve("z-faults/workers_lost") == [(5, 1.0)]
    assert store.texts == {"job.yaml": "name: small\n"}
    assert [used["split"] for used in store.datasets] == ["train", "valid"]
    assert store.pictures == ["curves", "confusion"]
    assert (store.tags["distprop.receipt"], store.tags["distprop.epochs_proven"]) == ("c0ffee", "2")
    assert store.tags["distprop.last_checkpoint"] == "/tmp/checkpoints/5"
    assert store.status == "FINISHED"
    assert (summary.spooled, summary.refused, summary.run_id, summary.spool) == (0, 0, "run-0", None)
    assert (summary.model_uri, tracker.model_uri, summary.word) == ("models:/m-1", "models:/m-1", "")
    assert not (tmp_path / "spool").exists()


def test_names_and_values_that_mlflow_refuses_are_made_legal(make, store):
    tracker = make()
    tell(tracker, STARTED, *ending())
    tracker.close()
    assert set(store.given) == {"optimizer.sgd.learning_rate", "data.features_0_", "model"}
    assert len(store.given["model"]) == 6000
    assert len(store.datasets[0]["digest"]) == 36


def test_final_metrics_name_the_model_and_are_not_points_twice(make, store):
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending(None))
    tracker.close()
    ((uri, linked),) = store.linked
    assert uri is None
    assert linked[0] in store.points
    assert {point.metric: point.value for point in linked} == {
        "valid/loss": 0.25,
        "test/accuracy": 0.58,
        "train/final": 0.125,
    }


def test_training_does_not_wait_for_a_server_that_hangs(make, store):
    store.gate.clear()
    tracker = make()
    began = time.monotonic()
    tell(tracker, STARTED, *(step(version) for version in range(1, 201)))
    assert time.monotonic() - began < 5  # the request in flight waits for 30 seconds
    assert not tracker.wait_ready(0)
    store.gate.set()
    tell(tracker, *ending())
    assert tracker.close().spooled == 0
    assert len(store.curve("train/loss")) == 200


def test_a_server_that_is_away_and_comes_back_gets_everything_once_in_order(make, store):
    tracker = make()
    tell(tracker, STARTED, *steps(1, 3))
    until(lambda: store.curve("train/loss") == LOSSES[:3])
    store.away = True
    tell(tracker, *steps(4, 6))
    asked = store.calls.total()
    until(lambda: store.calls.total() > asked + 1)
    assert store.curve("train/loss") == LOSSES[:3]
    store.away = False
    until(lambda: store.curve("train/loss") == LOSSES[:6])
    tell(tracker, *steps(7, 8), *ending())
    tracker.close()
    assert store.curve("train/loss") == LOSSES
    assert store.status == "FINISHED"


def test_a_lost_answer_doubles_nothing(make, store):
    store.lose_answers = 3
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending())
    until(lambda: store.status == "FINISHED")
    tracker.close()
    assert store.curve("train/loss") == LOSSES
    assert len(store.points) == len(set(store.points))


def test_a_server_that_comes_back_at_the_last_moment_gets_everything(make, store, monkeypatch):
    monkeypatch.setattr(delivery, "GRACE", 10.0)
    store.away = True
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending())
    timer = threading.Timer(0.2, lambda: setattr(store, "away", False))
    timer.start()
    assert tracker.close(timeout=20).spooled == 0
    timer.join()
    assert store.status == "FINISHED"


def test_a_server_that_hangs_at_the_end_is_waited_for_no_longer_than_asked(make, store):
    store.gate.clear()
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending())
    summary = tracker.close(timeout=0.1)
    assert summary.spooled > 20
    assert "tracking is slow" in summary.word
    store.gate.set()
    tracker._delivery._thread.join(10)
    tracker._spool.close()


def test_what_was_not_sent_is_kept_said_and_sent_later(make, store, caplog):
    store.away = True
    tracker = make()
    with caplog.at_level(logging.WARNING, "distprop"):
        tell(tracker, STARTED, *steps(), *ending())
        summary = tracker.close(timeout=5)
    assert [record.message for record in caplog.records if "tracking is away" in record.message] != []
    assert len(caplog.records) == 1, "one warning, not one a try"
    assert summary.spooled > 20
    assert "nobody is there" in summary.away
    assert "`distprop sync" in summary.word
    with pytest.raises(AddressError, match="nobody is there"):
        sync(summary.spool, lambda _: store)
    store.away = False
    later = sync(summary.spool, lambda _: store)
    assert (later.spooled, later.run_id, store.status) == (0, "run-0", "FINISHED")
    assert store.curve("train/loss") == LOSSES
    assert not summary.spool.exists()


def test_the_model_outlives_the_job_in_the_spool(make, store, tmp_path):
    store.away = True
    folder = numbers().save(tmp_path / "model")
    tracker = make()
    tell(tracker, STARTED, *ending(str(folder)))
    summary = tracker.close(timeout=5)
    for path in folder.iterdir():
        path.unlink()
    store.away = False
    loaded = []
    store.model = lambda _run, kept, *_: loaded.append(load_model(kept).digest) or "models:/m-2"
    assert sync(summary.spool, lambda _: store).model_uri == "models:/m-2"
    assert loaded == [numbers().digest]


def test_a_refused_record_is_left_out_and_the_others_arrive(make, store, caplog):
    store.refuses = "valid/loss"
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending())
    summary = tracker.close()
    assert (summary.refused, summary.spooled, store.status) == (2, 0, "FINISHED")
    assert store.curve("train/loss") == LOSSES
    assert "lost a record of kind points" in caplog.text


@pytest.mark.parametrize("closing", [True, False])
def test_a_picture_that_always_fails_does_not_keep_the_final_status_away(make, store, closing):
    store.cannot_draw = True
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending())
    if not closing:
        until(lambda: store.status == "FINISHED")
    summary = tracker.close()
    assert (summary.refused, summary.spooled, store.status) == (2, 0, "FINISHED")
    assert store.curve("train/loss") == LOSSES


@pytest.mark.parametrize(
    ("status", "expected"), [("finished", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_the_final_status_is_what_the_job_said(make, store, status, expected):
    with make() as tracker:
        tell(tracker, STARTED, *ending(status=status))
    assert store.status == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (Stop("enough"), "KILLED"), (None, "FAILED")],
)
def test_a_job_that_never_said_how_it_ended_has_a_status_all_the_same(make, store, error, expected):
    def job():
        with make() as tracker:
            tracker(STARTED)
            if error is not None:
                raise error

    if error is None:
        job()
    else:
        with pytest.raises(type(error)):
            job()
    assert store.status == expected
    assert store.tags["distprop.why"]


def test_closing_twice_gives_the_same_summary_and_later_events_are_not_heard(make, store):
    tracker = make()
    tell(tracker, STARTED, *ending())
    first = tracker.close()
    tracker(step(9))
    assert tracker.close() == first
    assert store.curve("train/loss") == []


def die(tracker):
    """Leave the tracker as a killed process would: nothing is said, the lock is gone."""
    tracker._delivery._closing.set()
    tracker._delivery._wake.set()
    tracker._delivery._thread.join(10)
    tracker._spool.close()
    atexit.unregister(tracker._at_exit)


def test_a_killed_job_goes_on_in_its_run_without_doubled_points(make, store):
    first = make()
    tell(first, STARTED, *steps(1, 3))
    until(lambda: store.curve("train/loss") == LOSSES[:3])
    store.away = True
    tell(first, *steps(4, 6))
    die(first)
    store.away = False
    again = make(run_id=first.run_id)
    tell(again, STARTED, *steps(5, 8, later=1000.0), *ending())
    assert again.close().run_id == "run-0"
    assert store.curve("train/loss") == LOSSES
    assert store.curve("valid/loss") == [(4, 0.5), (8, 0.25)]
    assert len(store.runs) == 1
    assert [point.time for point in store.points if point.metric == "train/loss"][:6] == sorted(
        1000 * (1_700_000_000 + version) for version in range(1, 7)
    ), "what the first process measured stays as it was"


def test_a_job_killed_before_the_server_answered_goes_on_by_its_handle(make, store):
    store.away = True
    first = make()
    tell(first, STARTED, *steps(1, 5))
    assert first.run_id is None
    assert first.handle.startswith("spool:")
    die(first)
    store.away = False
    again = make(run_id=first.handle)
    tell(again, STARTED, *steps(5, 8, later=1000.0), *ending())
    again.close()
    assert store.curve("train/loss") == LOSSES
    assert len(store.runs) == 1


def test_a_job_whose_spool_is_gone_asks_the_server_what_it_has(make, store):
    first = make()
    tell(first, STARTED, *steps(1, 6), RunEnded(0, "interrupted", 6, {}, None))
    first.close()
    assert store.status == "KILLED"
    again = make(run_id=first.run_id)
    tell(again, STARTED, *steps(5, 8, later=1000.0), *ending())
    again.close()
    assert store.curve("train/loss") == LOSSES
    assert store.status == "FINISHED"


def test_steps_that_a_job_replays_by_itself_are_not_doubled(make, store):
    tracker = make()
    tell(tracker, STARTED, *steps(1, 6), *steps(4, 8, later=100.0), *ending())
    tracker.close()
    assert store.curve("train/loss") == LOSSES


def test_a_dead_job_is_closed_by_sync_and_a_living_one_is_left_alone(make, store):
    tracker = make()
    tell(tracker, STARTED, *steps(1, 3))
    with pytest.raises(CheckpointError, match="in use"):
        sync(tracker.spool_path, lambda _: store)
    die(tracker)
    sync(tracker.spool_path, lambda _: store)
    assert store.status == "KILLED"
    assert store.curve("train/loss") == LOSSES[:3]


def test_a_full_disk_costs_records_and_not_the_training(make, store, monkeypatch, caplog):
    tracker = make()
    tracker(STARTED)
    real = tracker._spool.append

    def full(_record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._spool, "append", full)
    tell(tracker, *steps(1, 3))
    monkeypatch.setattr(tracker._spool, "append", real)
    tell(tracker, *steps(4, 8), *ending())
    tracker.close()
    assert caplog.text.count("takes no more records") == 1
    assert store.curve("train/loss") == LOSSES[3:]


def test_an_interrupt_is_shown_at_once_and_what_follows_is_sent_all_the_same(make, store):
    tracker = make()
    tell(tracker, STARTED, *steps(1, 3))
    until(lambda: store.curve("train/loss") == LOSSES[:3])
    tracker.interrupt()
    until(lambda: store.status == "KILLED")
    tell(tracker, *steps(4, 8), *ending())
    tracker.close()
    assert (store.status, store.curve("train/loss")) == ("FINISHED", LOSSES)


def test_an_interrupt_is_shown_before_a_backlog_is_sent(make, store):
    asked = []
    real = store.picture
    store.picture = lambda *given: asked.append(store.calls["end"]) or real(*given)
    tracker = make()
    tracker(STARTED)
    assert tracker.wait_ready(10)
    store.gate.clear()
    tell(tracker, *steps())
    tracker.interrupt()
    tell(tracker, *ending(status="interrupted"))
    store.gate.set()
    tracker.close()
    assert asked
    assert min(asked) == 1, "the end was told before the first picture"
    assert store.status == "KILLED"


def test_a_thread_that_nobody_waits_for_ends_after_its_request_and_the_process_waits_for_it(make, store):
    store.gate.clear()
    tracker = make()
    tell(tracker, STARTED, *steps(), *ending())
    summary = tracker.close(timeout=0.1)
    assert tracker._delivery.stuck
    store.gate.set()
    atexit.unregister(tracker._delivery.join)
    tracker._delivery.join(10)
    assert not tracker._delivery.stuck
    assert store.calls.total() <= 2, "one request was under way; none was begun after"
    tracker._spool.close()
    assert sync(summary.spool, lambda _: store).spooled == 0
    assert store.curve("train/loss") == LOSSES
