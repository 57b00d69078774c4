"""`init`, `import`, `list`, `ui`, and the command as a whole."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from distprop import __version__
from distprop.cli.writing import config_text, flow
from distprop.config import load_job, parse_job
from distprop.config.schema import schema
from distprop.tracking.ui import free_port

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def flowers(here):
    columns = {
        "length": [0.1 * (row % 7) for row in range(200)],
        "kind": [["a", "b", "c"][row % 3] for row in range(200)],
    }
    (here / "data").mkdir()
    pq.write_table(pa.table(columns), here / "data" / "flowers.parquet")
    return "data/flowers.parquet"


def test_init_writes_a_config_that_loads_and_says_what_to_type_next(run, flowers):
    done = run("init", flowers, "--target", "kind")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "next: distprop train flowers.yaml\n"
    job = load_job("flowers.yaml")
    assert (job.name, job.data.train, job.data.target, job.loss) == (
        "flowers",
        flowers,
        "kind",
        "softmax_cross_entropy",
    )
    assert job.checkpoint.keep_best == "valid/loss"
    jsonschema.validate(YAML(typ="safe", pure=True).load(Path("flowers.yaml")), schema())


def test_init_prints_what_it_leaves_out_and_counts_the_rest(run, here):
    columns = {f"same{i:02}": [1.0] * 60 for i in range(25)}
    columns |= {
        "x": [float(i % 7) for i in range(60)],
        "key": [f"k{i}" for i in range(60)],
        "y": [i % 2 for i in range(60)],
    }
    pq.write_table(pa.table(columns), here / "wide.parquet")
    done = run("init", "wide.parquet", "--target", "y")
    assert "same00: left out: it is the same in every row\n" in done.stderr
    assert "and 6 more columns: see the comments in the config\n" in done.stderr
    assert "key: left out: it has 60 different texts in 60 rows" in Path("wide.yaml").read_text()


def test_init_keeps_variables_as_written(run, flowers, monkeypatch):
    monkeypatch.setenv("WHERE", "data")
    assert run("init", "${WHERE}/flowers.parquet", "--target", "kind", "--out", "x/y.yaml").exit_code == 0
    assert load_job("x/y.yaml").data.train == "${WHERE}/flowers.parquet"
    assert flowers


def test_init_does_not_write_over_a_config_unless_it_is_told_to(run, flowers):
    Path("flowers.yaml").write_text("mine")
    done = run("init", flowers, "--target", "kind")
    assert done.exit_code == 2
    assert "flowers.yaml is there already" in done.stderr
    assert Path("flowers.yaml").read_text() == "mine"
    assert run("init", flowers, "--target", "kind", "--force").exit_code == 0
    assert load_job("flowers.yaml").data.target == "kind"


def test_init_with_a_wrong_target_names_the_right_one_and_writes_nothing(run, flowers, here):
    done = run("init", flowers, "--target", "kinds")
    assert done.exit_code == 2
    assert "did you mean `kind`?" in done.stderr
    assert not list(here.glob("*.yaml"))


@given(st.dictionaries(NAMES, st.sampled_from(["standardize", {"scale": 0.1}, None]), min_size=1, max_size=12), NAMES)
@settings(max_examples=40, deadline=None)
def test_a_written_config_loads_to_the_job_that_was_written(features, target):
    job = {
        "data": {"train": "x", "valid": {"fraction": 0.1}, "features": features, "target": target},
        "model": [{"dense": {"width": 3, "bias": False}}, "relu", {"dropout": 0.1}],
        "loss": "mean_squared_error",
        "optimizer": {"adamw": {"learning_rate": {"cosine": {"peak": 1e-05}}}, "clip_norm": 1.0},
        "train": {"epochs": 3},
    }
    comments = {"data.target": "values", "data.features.gone\tcolumn": "left out", "optimizer": "fast"}
    text = config_text(job, comments, ["head"])
    assert parse_job(text) == load_job(job)
    assert text.startswith("# head\n")


@pytest.mark.parametrize("value", ["no", "1", "a: b", "# x", "", "null", 1e-5, True, None, [1, "2"], {"a": {"b": []}}])
def test_a_value_on_one_line_reads_back(value):
    assert "\n" not in flow(value)
    assert YAML(typ="safe", pure=True).load(f"key: {flow(value)}") == {"key": value}


def test_import_writes_parquet_and_says_what_to_type_next(run, here):
    (here / "table.csv").write_text("x,y\n1,a\n2,b\n")
    done = run("import", "table.csv", "--out", "made")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "next: distprop init made/table.parquet --target COLUMN\n"
    assert pq.read_table("made/table.parquet").column_names == ["x", "y"]


@pytest.mark.parametrize("words", [("gone.csv",), (".", "--size", "28"), ()], ids=str)
def test_import_of_what_is_not_there_is_refused(run, here, words):
    assert run("import", *words, "--out", "made").exit_code == 2
    assert not (here / "made").exists()


def test_ui_of_a_server_says_where_it_is(run):
    told = run("ui", "--uri", "http://mlflow:5000").stdout
    assert told == "the runs are at http://mlflow:5000/#/experiments?workflowType=machine_learning\n"


@pytest.fixture
def served(monkeypatch):
    """What would have been served: (command, environment); each ends with code 3."""
    calls = []

    class Process:
        def __init__(self, words, environment):
            calls.append((words, environment))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait(self):
            return 3

    monkeypatch.setattr("distprop.tracking.ui.GuardedProcess", Process)
    return calls


@pytest.fixture(autouse=True)
def same_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_ui_of_a_file_serves_it_and_ends_with_its_code(run, monkeypatch, served):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x.db")
    ended = run("ui", "--port", str(free_port()))
    assert ended.exit_code == 3
    assert "the runs will be at http://127.0.0.1:" in ended.stdout
    words, env = served[0]
    assert "sqlite:///x.db" in words
    assert env == {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def test_what_the_user_tells_the_ui_holds(run, monkeypatch, served):
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    assert run("ui", "--uri", "sqlite:///x.db", "--port", str(free_port())).exit_code == 3
    assert served[0][1]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "true"


def test_a_port_that_is_taken_is_refused_with_a_free_one(run, served):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("ui", "--uri", "sqlite:///x.db", "--port", str(port))
    assert ended.exit_code == 2
    assert f"port {port}" in ended.stderr
    proposed = int(re.search(r"distprop ui --port (\d+)", ended.stderr)[1])
    assert proposed != port
    assert run("ui", "--uri", "sqlite:///x.db", "--port", str(proposed)).exit_code == 3
    assert len(served) == 1


def test_list_prints_the_newest_metrics_of_each_run(run, monkeypatch):
    from distprop.tracking import runs

    rows = [
        runs.RunRow("r1", "digits", "finished", 0.0, {"valid/accuracy": 0.96, "train/loss": 0.1}, "ab" * 32, None),
        runs.RunRow("r2", "wine", "failed", 0.0, {"train/loss": float("nan")}, None, None),
    ]
    asked = []
    monkeypatch.setattr(runs, "list_runs", lambda uri, experiment: asked.append((uri, experiment)) or rows)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    lines = run("list", "--uri", "sqlite:///x.db").stdout.splitlines()
    assert asked == [("sqlite:///x.db", "mine")]
    assert lines[0].split() == ["run", "name", "status", "started", "measured", "digest"]
    assert "valid/accuracy 0.96" in lines[1]
    assert "train/loss" not in lines[1]
    assert json.loads(run("list", "--json").stdout)[1]["metrics"] == {"train/loss": None}
    rows.clear()
    assert "no runs yet" in run("list").stderr


def test_the_version_is_told(run):
    assert run("--version").stdout.strip().endswith(__version__)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from distprop.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print([name for name in ('numpy', 'pyarrow', 'ray', 'mlflow', 'pydantic', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "distprop", "train", os.devnull], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: /dev/null holds no job\n  why: ")


@pytest.fixture
def spool(here):
    from distprop.tracking.spool import Spool, SpoolJob

    job = SpoolJob(token="t", uri="sqlite:///x.db", experiment="e", run_name="n", started=0, run_id="abc")
    Spool.create(here / "checkpoints" / "digits-1" / "spool" / "t", job).close()
    return Path("checkpoints/digits-1/spool/t")


@pytest.mark.parametrize("named", ["abc", "t", "checkpoints/digits-1/spool/t"])
def test_sync_finds_the_spool_of_a_run(run, spool, monkeypatch, named):
    from distprop.tracking import sync
    from distprop.tracking.summary import TrackingSummary

    asked = []
    monkeypatch.setattr(sync, "sync", lambda path: asked.append(path) or TrackingSummary(3, 0, 0, "abc", None, None))
    done = run("sync", named)
    assert done.exit_code == 0, done.stderr
    assert asked == [spool]
    assert done.stdout == "sent: 3 records of run abc are in MLflow\n"


def test_sync_of_a_run_without_a_spool_says_so(run, here):  # noqa: ARG001
    done = run("sync", "nothing")
    assert done.exit_code == 2
    assert "nothing waits to be sent for nothing" in done.stderr


def test_sync_finds_the_spool_from_any_folder_by_the_runs_tag(run, spool, monkeypatch, tmp_path_factory):
    from distprop.tracking import runs, sync
    from distprop.tracking.summary import TrackingSummary

    there, asked = str(spool.parents[1].absolute()), []
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(runs, "checkpoint_folder", lambda run_id, _uri: there if run_id == "abc" else None)
    monkeypatch.setattr(sync, "sync", lambda path: asked.append(path) or TrackingSummary(3, 0, 0, "abc", None, None))
    assert run("sync", "abc").exit_code == 0
    assert asked == [Path(there, "spool", "t")]
    assert run("sync", "another").exit_code == 2


def test_sync_that_leaves_something_out_says_so_and_does_not_end_well(run, spool, monkeypatch):  # noqa: ARG001
    from distprop.tracking import sync
    from distprop.tracking.summary import TrackingSummary

    monkeypatch.setattr(sync, "sync", lambda _: TrackingSummary(3, 0, 2, "abc", None, None))
    done = run("sync", "abc")
    assert done.exit_code == 1
    assert "2 records were refused" in done.stderr
