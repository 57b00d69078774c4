"""A spool on a disk that is really full: a small filesystem in memory."""

import os
import subprocess

import pytest

from distprop.errors import AddressError, UserError
from distprop.tracking import delivery
from distprop.tracking.sync import sync
from distprop.tracking.tracker import MlflowTracker
from tests.model.cases import numbers
from tests.tracking.events import STARTED, ending, steps
from tests.tracking.fakes import FakeStore

LOSSES = [(version, 1 / version) for version in range(1, 9)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(delivery, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(delivery, "GRACE", 0.2)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Take all room that there is."""
    file = os.open(folder / "others", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (65536, 4096, 1):
        try:
            while True:
                os.write(file, b"x" * size)
        except OSError:
            continue
    os.close(file)


def train(folder, store, between=lambda: None):
    tracker = MlflowTracker("http://away", "exp", "small", spool_dir=folder / "spool", store=store)
    tracker(STARTED)
    fill(folder)
    for event in steps(1, 4):
        tracker(event)
    between()
    for event in (*steps(5, 8), *ending()):
        tracker(event)
    return tracker.close(timeout=10)


def test_a_full_disk_keeps_nothing_from_a_server_that_is_there(small_disk):
    store = FakeStore()
    summary = train(small_disk, store)
    assert store.curve("train/loss") == LOSSES
    assert (store.status, summary.spooled, summary.lost, summary.gap) == ("FINISHED", 0, 0, "")


def test_records_of_a_full_disk_are_written_when_it_has_room_again(small_disk):
    store = FakeStore()
    store.away = True
    summary = train(small_disk, store, between=(small_disk / "others").unlink)
    assert (summary.lost, summary.spooled > 20) == (0, True)
    store.away = False
    sync(summary.spool, lambda _: store)
    assert store.curve("train/loss") == LOSSES


def test_what_neither_disk_nor_server_took_is_told(small_disk, caplog):
    store = FakeStore()
    store.away = True
    summary = train(small_disk, store)
    assert summary.lost > 10
    assert f"{summary.lost} records are lost" in summary.gap
    assert caplog.text.count("is full") == 1
    assert not list(small_disk.rglob("*.partial"))


def test_a_disk_that_is_full_from_the_start_is_said_with_what_to_do(small_disk):
    fill(small_disk)
    with pytest.raises(UserError) as caught:
        MlflowTracker("http://away", "exp", "small", spool_dir=small_disk / "spool", store=FakeStore())
    assert caught.value.why == "No space left on device"
    assert "checkpoint.dir" in caught.value.fix


def test_a_model_that_mlflow_does_not_take_stays_pending_until_sync_delivers_it(tmp_path):
    store = FakeStore()
    real, store.model = store.model, full
    folder = numbers().save(tmp_path / "model")
    tracker = MlflowTracker("http://away", "exp", "small", spool_dir=tmp_path / "spool", store=store)
    for event in (STARTED, *steps(), *ending(str(folder))):
        tracker(event)
    summary = tracker.close(timeout=10)
    assert (store.status, store.tags["distprop.pending"]) == ("FINISHED", "model"), "told in the run"
    assert (summary.spooled, summary.model_uri, summary.refused) == (2, None, 0), "the model, and what names it"
    assert "No space left" in summary.gap
    with pytest.raises(AddressError, match="No space left"):
        sync(summary.spool, lambda _: store)
    store.model = real
    later = sync(summary.spool, lambda _: store)
    assert (later.model_uri, later.gap, store.tags["distprop.pending"]) == ("models:/m-1", "", "nothing")
    assert [uri for uri, _ in store.linked] == [None, "models:/m-1"]
    assert not summary.spool.exists()


def full(*_):
    raise OSError(28, "No space left on device")
