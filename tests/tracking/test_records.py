import json
import math
import posixpath
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.events import (
    BinaryCurves,
    CheckpointFailed,
    Diagnosed,
    EpochEnded,
    Event,
    ModelSaved,
    RunEnded,
    ServerLost,
    WorkerJoined,
)
from distprop.tracking.naming import MOST_NAME, cut, legal_name, portions
from distprop.tracking.records import Recorder
from tests.tracking.events import NOON, STARTED, ending, evaluated, step, steps

ANY = st.characters(exclude_categories=("Cs",))  # as text() draws them, without the seconds that its codec takes


@settings(max_examples=150)
@given(st.text(ANY, max_size=MOST_NAME + 20) | st.from_regex(r"[a-z./@\[\]+]{1,20}", fullmatch=True))
def test_every_name_becomes_one_that_mlflow_takes(name):
    made = legal_name(name)
    assert re.fullmatch(r"[/\w.\- ]+", made)
    assert len(made) <= MOST_NAME
    assert posixpath.normpath(made) == made
    assert not made.startswith(("/", ".."))
    assert made != "."
    assert legal_name(made) == made


@pytest.mark.parametrize("name", ["train/loss", "optimizer.adamw.learning_rate", "system/h-1/cpu", "a b"])
def test_a_legal_name_stays_as_it_is(name):
    assert legal_name(name) == name


def test_long_texts_are_cut_and_say_so():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"


def test_many_params_are_sent_in_portions():
    many = {f"p{number}": "1" for number in range(250)}
    sizes = [len(piece) for piece in portions(many, 100)]
    assert sizes == [100, 100, 50]
    records = Recorder().records(replace(STARTED, params=many))
    assert [len(record["params"]) for record in records if record["kind"] == "params"] == [100, 100, 50]


def test_a_receipt_that_differs_gets_a_tag_of_its_own():
    recorder = Recorder()
    tags = {}
    for epoch, receipt in enumerate(["aa", "aa", "bb"]):
        for record in recorder.records(EpochEnded(NOON, 4 * epoch + 4, epoch, 100, receipt)):
            tags.update(record.get("tags", {}))
    assert tags == {"distprop.receipt": "aa", "distprop.epochs_proven": "2", "distprop.receipt.epoch_2": "bb"}


def test_losses_are_counted():
    recorder = Recorder()
    happened = [ServerLost(NOON, "x"), ServerLost(NOON, "x")]
    happened.append(CheckpointFailed(NOON, 5, "full"))
    metrics = [record["metrics"] for event in happened for record in recorder.records(event)]
    assert metrics == [
        {"z-faults/servers_lost": 1.0},
        {"z-faults/servers_lost": 2.0},
        {"z-faults/checkpoints_failed": 1.0},
    ]


def test_a_worker_that_joins_is_no_fault():
    assert Recorder().records(WorkerJoined(NOON, 1, "h")) == []


def linked(*events):
    """What is linked to the model at the end: metric -> (value, step)."""
    recorder = Recorder()
    records = [record for event in events for record in recorder.records(event)]
    (link,) = [record for record in records if record["kind"] == "link"]
    told = {
        (name, value, record["time"], record["step"])
        for record in records
        if record["kind"] == "points"
        for name, value in record["metrics"].items()
    }
    assert told >= set(link["points"]), "linking adds no second value at a step"
    return {name: (value, step) for name, value, _, step in link["points"]}


def test_a_model_of_an_earlier_step_has_the_metrics_of_that_step():
    final = {"train/loss": 1 / 8, "learning_rate": 0.1, "valid/loss": 2 / 4, "valid/accuracy": 0.54, "test/loss": 0.25}
    ended = RunEnded(NOON + 10, "finished", 8, final, "d")
    happened = [STARTED, *steps(), evaluated(8, "test"), ModelSaved(NOON + 9, 4, "folder", "d"), ended]
    assert linked(*happened) == {
        "train/loss": (1 / 4, 4),
        "learning_rate": (0.1, 4),
        "valid/loss": (2 / 4, 4),
        "valid/accuracy": (0.54, 4),
        "test/loss": (0.25, 8),
    }


def test_a_model_kept_before_a_resume_has_its_validation_metrics_and_no_later_training_loss():
    ended = RunEnded(NOON + 10, "finished", 8, {"train/loss": 1 / 8, "valid/loss": 0.5}, "d")
    recorder = Recorder()
    for event in (STARTED, *steps(5, 8), ModelSaved(NOON + 9, 4, "folder", "d")):
        recorder.records(event)
    (link,) = [record for record in recorder.records(ended) if record["kind"] == "link"]
    assert [(name, value, step) for name, value, _, step in link["points"]] == [("valid/loss", 0.5, 4)]


def test_the_curves_of_training_come_before_all_diagnostics():
    """MLflow's pages show a section for what stands before the last slash, by name; names without one come last."""
    recorder = Recorder()
    looked = Diagnosed(NOON, 7, {"gradient_norm/0.dense": 0.5, "dead/1.relu": 0.1, "noise_scale": 80.0})
    happened = [STARTED, *steps(), looked, ServerLost(NOON, "x"), CheckpointFailed(NOON, 5, "full"), *ending()]
    records = [record for event in happened for record in recorder.records(event) if record["kind"] == "points"]
    sections = {name.rpartition("/")[0] for record in records for name in record["metrics"]}
    shown = sorted(section for section in sections if section and not section.startswith("system"))
    assert shown[:3] == ["test", "train", "valid"]
    assert set(shown[3:]) >= {"z-layers/gradient_norm", "z-layers/dead", "z-faults"}


def test_a_description_says_what_was_trained_and_what_came_of_it():
    recorder = Recorder({"distprop.package_version": "9"})
    tags = {}
    for event in (STARTED, *steps(), ModelSaved(NOON + 9, 4, "folder", "d")):
        for record in recorder.records(event):
            tags.update(record.get("tags", {}))
    assert tags["mlflow.note.content"].startswith("**small**: 42 parameters, 8 steps (4 an epoch); 100 rows of train")
    assert (tags["distprop.package_version"], tags["distprop.last_checkpoint_step"]) == ("9", "5")
    assert "distprop.version" not in tags, "it was a step"
    for record in recorder.records(RunEnded(NOON, "finished", 8, {"valid/loss": 0.5}, "d")):
        tags.update(record.get("tags", {}))
    for part in ("**small**", "Finished at step 8", "that of step 4", "| valid/loss | 0.5 |", "1 learning curves"):
        assert part in tags["mlflow.note.content"]


def test_an_event_of_an_unknown_kind_is_nothing():
    assert Recorder().records(Event(NOON)) == []


def picture_of(*events):
    recorder = Recorder()
    for event in events:
        recorder.records(event)
    records = recorder.records(RunEnded(NOON, "finished", 8, {}, None))
    return [record["split"] for record in records if record["kind"] == "picture" and record["picture"] != "curves"]


def test_curves_of_two_classes_are_a_picture_of_their_own():
    curves = BinaryCurves(((0.0, 0.0), (1.0, 1.0)), ((0.5, 0.5, 2.0),), (0.5, 1.0, 0.0))
    ended = RunEnded(1.0, "finished", 8, {}, None)
    recorder = Recorder()
    recorder.records(replace(evaluated(8, "test"), curves=curves))
    (made,) = [record for record in recorder.records(ended) if record.get("picture") == "binary"]
    assert json.loads(json.dumps(made)) == {
        "kind": "picture",
        "picture": "binary",
        "split": "test",
        "roc": [[0, 0], [1, 1]],
        "calibration": [[0.5, 0.5, 2.0]],
        "point": [0.5, 1.0, 0.0],
    }


def test_the_test_split_is_pictured_before_the_validation_split():
    assert picture_of(evaluated(4), evaluated(8, "test"), evaluated(8)) == ["test"]
    assert picture_of(evaluated(4), evaluated(8)) == ["valid"]
    assert picture_of(step(1)) == []


def test_the_last_records_of_a_run_end_it():
    recorder = Recorder()
    recorder.records(STARTED)
    recorder.records(replace(step(1), seconds=0.01))
    kinds = [
        record["kind"] for record in recorder.records(RunEnded(NOON + 1, "failed", 1, {"a": math.nan}, None, "why"))
    ]
    assert kinds == ["points", "tags", "link", "picture", "end"]
