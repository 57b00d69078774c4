"""Against MLflow itself, on one store for all tests here: making one takes seconds."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distprop import flavor
from distprop.errors import AddressError, CheckpointError
from distprop.events import RunEnded, StartEnded
from distprop.model import load_model
from distprop.tracking import runs
from distprop.tracking.address import make_client
from distprop.tracking.spool import SpoolJob
from distprop.tracking.store import MlflowStore, Point, Refused
from distprop.tracking.sync import sync
from distprop.tracking.tracker import MlflowTracker
from tests.model.cases import images, numbers, table
from tests.tracking.events import STARTED, ending, steps

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*inferred as AnyType:UserWarning",  # MLflow's own types, when it is imported
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    before = os.getcwd()
    os.chdir(folder)  # MLflow puts artifacts below the current folder
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def uri(home, new_store):
    shutil.copy(new_store, home / "mlflow.db")
    return f"sqlite:///{home}/mlflow.db"


@pytest.fixture(scope="module")
def client(uri):
    return make_client(uri)


@pytest.fixture(scope="module")
def done(uri, home):
    """A job that ran through."""
    folder = images().save(home / "trained")
    tracker = MlflowTracker(uri, "exp", "small", spool_dir=home / "spool")
    for event in (STARTED, *steps(), *ending(str(folder))):
        tracker(event)
    return tracker.close(timeout=60)


def curve(client, run_id, metric):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, metric)]


def test_the_run_is_whole(done, client):
    run = client.get_run(done.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "small")
    assert done.spooled == done.refused == 0
    assert curve(client, done.run_id, "train/loss") == [(version, 1 / version) for version in range(1, 9)]
    assert run.data.params["optimizer.sgd.learning_rate"] == "0.1"
    assert run.data.tags["distprop.receipt"] == "c0ffee"
    assert run.data.metrics["system/h/cpu_utilization_percentage"] == 12.5
    named = {data.tags[0].value: data.dataset for data in run.inputs.dataset_inputs}
    assert named.keys() == {"training", "validation"}
    assert json.loads(named["training"].source) == {"uri": "${DATA}/small.parquet"}
    files = {file.path for file in client.list_artifacts(done.run_id)}
    assert files == {"job.yaml", "1_learning_curves.png", "2_confusion_matrix_test.png"}


def test_the_model_is_logged_with_its_metrics(done, client):
    model = client.get_logged_model(done.model_uri.removeprefix("models:/"))
    assert (model.status, model.name, model.source_run_id) == ("READY", "small", done.run_id), "called after its job"
    assert model.params["optimizer.sgd.learning_rate"] == "0.1"
    measured_on = {metric.key: metric.dataset_digest for metric in model.metrics}
    assert measured_on == {"valid/loss": "b" * 32, "test/accuracy": None, "train/final": "a" * 36}
    assert {metric.key: metric.value for metric in model.metrics} == {
        "valid/loss": 0.25,
        "test/accuracy": 0.58,
        "train/final": 0.125,
    }
    assert curve(client, done.run_id, "test/accuracy") == [(8, 0.58)], "linking adds no second point"


def test_the_model_loads_by_each_address(done, uri):
    for address in (done.model_uri, f"runs:/{done.run_id}/small", f"runs:/{done.run_id}/model"):
        assert load_model(address, uri).digest == images().digest
    for nothing in ("models:/m-00000000000000000000000000000000", "runs:/" + "0" * 32 + "/model", "models:/x/1"):
        with pytest.raises(CheckpointError, match="no model at"):
            load_model(nothing, uri)


def test_a_registered_model_loads_by_version_and_alias(done, uri, client):
    model_id = done.model_uri.removeprefix("models:/")
    client.create_registered_model("insects")
    version = client.create_model_version("insects", done.model_uri, run_id=done.run_id, model_id=model_id).version
    client.set_registered_model_alias("insects", "best", version)
    for address in ("models:/insects@best", f"models:/insects/{version}", "models:/insects/latest"):
        assert load_model(address, uri).digest == images().digest


@pytest.mark.scenario
def test_the_model_predicts_as_pyfunc_in_a_process_without_ray_and_without_pickle(done, uri, tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    code = (
        "import sys, numpy as np, mlflow\n"
        f"model = mlflow.pyfunc.load_model({done.model_uri!r})\n"
        "print(model.predict(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)).tolist())\n"
        "assert model.predict(model.input_example).shape == (2,)\n"
        "assert 'ray' not in sys.modules\n"
    )
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(images().predict(pixels).tolist())


def test_runs_are_listed_and_found_by_id_and_by_key(done, uri):
    rows = {row.run_id: row for row in runs.list_runs(uri, "exp")}
    row = rows[done.run_id]
    assert (row.name, row.status, row.digest, row.checkpoint) == ("small", "finished", "d1935", "/tmp/checkpoints")
    assert row.metrics["test/accuracy"] == 0.58
    assert not any(name.startswith("system/") for name in row.metrics)
    found = runs.find(done.run_id, uri)
    assert (found.config, found.run_key, found.model_uri) == ("name: small\n", "key-1", done.model_uri)
    assert runs.find("key-1", uri).config == "name: small\n"
    assert runs.list_runs(uri, "another") == []
    with pytest.raises(CheckpointError, match="there is no run"):
        runs.find("nothing-like-it", uri)


def test_a_resumed_job_goes_on_in_its_run(uri, home, client):
    first = MlflowTracker(uri, "exp", "resumed", spool_dir=home / "spool")
    for event in (STARTED, *steps(1, 6), RunEnded(0, "interrupted", 6, {}, None)):
        first(event)
    run_id = first.close(timeout=60).run_id
    assert client.get_run(run_id).info.status == "KILLED"
    again = MlflowTracker(uri, "exp", "resumed", spool_dir=home / "spool", run_id=run_id)
    assert again.wait_ready(30)
    assert client.get_run(run_id).info.status == "RUNNING"
    started = replace(STARTED, params={**STARTED.params, "train.epochs": "5", "optimizer.sgd.learning_rate": "0.2"})
    for event in (started, *steps(5, 8, later=1000.0), *ending()):
        again(event)
    summary = again.close(timeout=60)
    run = client.get_run(run_id)
    assert (summary.run_id, summary.refused, run.info.status) == (run_id, 0, "FINISHED")
    assert [step for step, _ in curve(client, run_id, "train/loss")] == list(range(1, 9))
    assert run.data.params["optimizer.sgd.learning_rate"] == "0.1"
    assert run.data.params["train.epochs"] == "5"
    assert run.data.tags["distprop.resumed_with.optimizer.sgd.learning_rate"] == "0.2"


@pytest.fixture
def store(uri):
    return MlflowStore(uri)


@pytest.fixture
def run(store):
    return store.connect(SpoolJob(store.uri, "exp", "direct", os.urandom(8).hex(), 1_700_000_000_000), None)


def test_every_request_may_be_made_twice(store, run, home):
    folder = str(numbers().save(home / "twice"))
    points = [Point("train/loss", 0.5, 1_700_000_000_000 + step, step) for step in range(1500)]
    points.append(Point("train/nan", float("nan"), 1_700_000_000_000, 1))
    for _ in range(2):
        store.log(run.run_id, points, {"a": "b"})
        store.params(run.run_id, {"p": "1"})
        store.inputs(
            run.run_id, [{"split": "train", "name": "d", "digest": "0", "source": "s", "rows": 1, "columns": {}}]
        )
        uri = store.model(run.run_id, folder, 8, "d")
        store.link(run.run_id, uri, points[:1])
        store.end(run.run_id, "FINISHED", 1_700_000_001_000)
    kept = store.client.get_run(run.run_id)
    assert len(store.client.get_metric_history(run.run_id, "train/loss")) == 1500
    assert len(store.client.get_metric_history(run.run_id, "train/nan")) == 1
    assert (len(kept.inputs.dataset_inputs), len(kept.outputs.model_outputs)) == (1, 1)
    assert store.last_step(run.run_id, "train/loss") == 1499
    assert store.last_step(run.run_id, "valid/loss") == -1


def test_a_metric_of_the_model_is_no_second_point_where_a_later_process_links_it(store, run, home):
    """A job that was killed after the evaluation of the kept model links it by the time at which it goes on."""
    uri = store.model(run.run_id, str(numbers().save(home / "linked")), 8, "d")
    measured, later = Point("valid/loss", 0.25, 1_700_000_000_000, 8), 1_700_000_090_000
    store.log(run.run_id, [measured], {})
    new = Point("test/loss", 0.5, later, 8)
    store.link(run.run_id, uri, [measured._replace(time=later), new])
    assert len(store.client.get_metric_history(run.run_id, "valid/loss")) == 1
    assert len(store.client.get_metric_history(run.run_id, "test/loss")) == 1
    of_model = store.client.get_logged_model(uri.removeprefix("models:/")).metrics
    assert {metric.key: metric.value for metric in of_model} == {"valid/loss": 0.25, "test/loss": 0.5}


def test_a_run_is_found_again_by_its_token_and_begun_anew_where_it_is_gone(store, run):
    token = store.client.get_run(run.run_id).data.tags["distprop.token"]
    job = SpoolJob(store.uri, "exp", "direct", token, 1)
    assert store.connect(job, None) == (run.run_id, True)
    assert store.connect(job, "0" * 32) == (run.run_id, True)


def test_the_experiment_opens_as_model_training_unless_a_person_chose(store, run):
    client = store.client
    experiment = client.get_experiment(client.get_run(run.run_id).info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    for name, tags, kind in (
        ("untold", {}, "custom_model_development"),
        ("chosen", {"mlflow.experimentKind": "genai_development"}, "genai_development"),
    ):
        client.create_experiment(name, tags=tags)
        store.connect(SpoolJob(store.uri, name, "direct", os.urandom(8).hex(), 1_700_000_000_000), None)
        assert client.get_experiment_by_name(name).tags["mlflow.experimentKind"] == kind


def test_what_mlflow_will_never_take_is_refused(store, run):
    with pytest.raises(Refused, match="refused"):
        store.log(run.run_id, [Point("bad@name", 1.0, 1, 1)], {})
    with pytest.raises(Refused, match="cannot be made"):
        store.model(run.run_id, "/nowhere", 1, "d")


@pytest.mark.parametrize("make", [images, lambda: images(("ant", "bee", "cat")), table, numbers])
def test_every_kind_of_model_is_served_by_its_signature(make, tmp_path):
    import mlflow

    model = make()
    saved = flavor.save_model(model.save(tmp_path / "m"), tmp_path / "saved")
    loaded = mlflow.pyfunc.load_model(str(saved))
    example = loaded.input_example
    np.testing.assert_array_equal(loaded.predict(example), model.predict(example))
    np.testing.assert_array_equal(loaded.predict(example, params={"output": "raw"}), model.predict_raw(example))
    assert not [path for path in saved.rglob("*") if path.suffix in (".pkl", ".pickle")]
    pinned = (saved / "requirements.txt").read_text().split()
    assert all("==" in line for line in pinned)
    names = {line.split("==")[0] for line in pinned}
    assert {"numpy", "safetensors"} <= names
    assert not any(name.startswith("distprop") for name in names), "the code travels with the model"


def test_a_model_that_was_logged_before_models_carried_their_code_still_loads(tmp_path):
    import mlflow

    model = images()
    saved = flavor.save_model(model.save(tmp_path / "m"), tmp_path / "saved")
    described = (saved / "MLmodel").read_text()
    earlier = described.replace("loader_module: distprop_loader", "loader_module: distprop.flavor")
    (saved / "MLmodel").write_text(earlier.replace("    code: code\n", ""))
    assert earlier != described
    loaded = mlflow.pyfunc.load_model(str(saved))
    np.testing.assert_array_equal(loaded.predict(loaded.input_example), model.predict(loaded.input_example))


def test_an_example_of_real_rows_is_kept():
    model = table()
    rows = {"age": [30, 40], "smoker": ["yes", "no"], "weight": [70.5, 80.0]}
    object.__setattr__(model, "metadata", {"example": rows})
    assert flavor.input_example(model).to_dict("list") == rows


def test_an_address_where_nobody_is_says_so():
    with pytest.raises(AddressError, match="cannot be read"):
        runs.list_runs("http://127.0.0.1:9")
    with pytest.raises(AddressError, match="does not answer"):
        load_model("models:/m-1", "http://127.0.0.1:9")


def test_starts_are_shown_in_the_run_of_all(uri, client, home):
    """The run of one start comes to the server before that of all: it waits."""
    whole = MlflowTracker(uri, "exp", "whole", spool_dir=home / "nested")
    with MlflowTracker(uri, "exp", "one", spool_dir=home / "nested", parent=whole.handle) as one:
        one(STARTED)
        one(RunEnded(1.0, "finished", 8, {"valid/loss": 0.5}, "d"))
    for row in ((0, "finished", {"valid/loss": 0.5}, ""), (1, "failed", {}, "the loss became nan")):
        number, status, metrics, why = row
        whole(StartEnded(1.0, number, 2, 7, status, 8, metrics, "d", one.run_id, "valid/loss", why))
    whole(RunEnded(1.0, "finished", 8, {"valid/loss": 0.5, "train/loss": 0.4}, "d"))
    done = whole.close(timeout=60)
    run = client.get_run(done.run_id)
    assert client.get_run(one.run_id).data.tags["mlflow.parentRunId"] == done.run_id
    assert run.data.metrics == {"start/0/valid/loss": 0.5, "valid/loss": 0.5, "train/loss": 0.4}
    lines = Path(client.download_artifacts(done.run_id, "starts.csv", home)).read_text().splitlines()
    assert lines[0] == "start,seed,status,steps,digest,run,why,valid/loss"
    assert lines[1:] == [f"0,7,finished,8,d,{one.run_id},,0.5", f"1,7,failed,8,d,{one.run_id},the loss became nan,"]


def test_a_run_that_is_deleted_keeps_its_records_and_gets_them_after_a_restore(uri, home, client, caplog):
    tracker = MlflowTracker(uri, "exp", "deleted", spool_dir=home / "deleted")
    tracker(STARTED)
    assert tracker.wait_ready(60)
    client.delete_run(tracker.run_id)
    for event in (*steps(), *ending()):
        tracker(event)
    summary = tracker.close(timeout=60)
    assert (summary.refused, summary.spooled > 10) == (0, True)
    assert "was deleted" in summary.away
    assert caplog.text.count("was deleted") == 1
    with pytest.raises(AddressError, match="was deleted") as caught:
        sync(summary.spool)
    assert f"mlflow runs restore --run-id {summary.run_id}" in caught.value.fix
    client.restore_run(summary.run_id)
    assert sync(summary.spool).run_id == summary.run_id
    assert client.get_run(summary.run_id).info.status == "FINISHED"
    assert curve(client, summary.run_id, "train/loss") == [(version, 1 / version) for version in range(1, 9)]


def test_an_experiment_that_is_deleted_keeps_its_runs_records(uri, home, client):
    tracker = MlflowTracker(uri, "short-lived", "deleted", spool_dir=home / "deleted")
    tracker(STARTED)
    assert tracker.wait_ready(60)
    experiment = client.get_experiment_by_name("short-lived").experiment_id
    client.delete_experiment(experiment)
    for event in (*steps(), *ending()):
        tracker(event)
    summary = tracker.close(timeout=60)
    assert (summary.refused, summary.spooled > 10) == (0, True)
    client.restore_experiment(experiment)
    assert sync(summary.spool).spooled == 0
    assert client.get_run(summary.run_id).info.status == "FINISHED"


def test_the_folder_of_a_runs_checkpoints_is_known_by_its_tag(done, uri, tmp_path):
    assert runs.checkpoint_folder(done.run_id, uri) == "/tmp/checkpoints"
    assert runs.checkpoint_folder("nobody", uri) is None
    assert runs.checkpoint_folder(done.run_id, f"sqlite:///{tmp_path}/none.db") is None
