"""`train`, `resume`, `show` and `check`: what they ask, what they print where, and how they end."""

import json

import pytest

from distprop.errors import ConfigError, DataError, LostError, TrainingError
from distprop.report import CheckResult, Description, LayerRow, ShardRow
from tests.cli.conftest import CONFIGS

DIGITS = CONFIGS / "digits.yaml"
DESCRIPTION = Description(
    name="digits",
    config="name: digits\n",
    recipe_hash="ab" * 32,
    input_shape=(8, 8, 1),
    layers=(LayerRow("0.flatten", "flatten", (64,), 0, 0, 0), LayerRow("1.dense", "dense", (10,), 650, 2560, 40)),
    parameters=650,
    flops_per_row=2560,
    flops_per_step=163_840,
    worker_bytes=1_500_000,
    server_bytes=999,
    train_rows=1437,
    valid_rows=360,
    test_rows=0,
    shards=(ShardRow(0, 718, 23, 32), ShardRow(1, 719, 23, 32)),
    steps_per_epoch=23,
    last_version=920,
    workers=2,
    servers=1,
    notes=("leaves of 32 rows cost more a row than larger ones",),
)


def test_train_hands_over_the_job_and_where_to_run_it(run, training, kernels):
    done = run("train", DIGITS, "--workers", 3, "--servers", 2, "--address", "auto", "--set", "train.epochs=3",
               "--set", "numerics.blas_kernel=haswell")  # fmt: skip
    assert done.exit_code == 0
    ((name, job, words),) = training.calls
    assert (name, job.name, job.train.epochs) == ("train", "digits", 3)
    assert len(words.pop("listeners")) == 1
    assert words == {
        "workers": 3, "servers": 2, "address": "auto", "inline": False, "run_key": None, "resume": "never",
        "dry_run": False, "profile": False,
    }  # fmt: skip
    assert kernels == ["haswell"]


def test_without_flags_the_job_decides(run, training):
    run("train", DIGITS)
    assert [training.calls[0][2][key] for key in ("workers", "servers", "address")] == [None, None, None]


@pytest.mark.parametrize(
    ("words", "mode"),
    [((), "never"), (("--run-key", "k"), "auto"), (("--run-key", "k", "--resume", "must"), "must")],
)
def test_a_run_key_goes_on_by_itself(run, training, words, mode):
    run("train", DIGITS, *words)
    assert training.calls[0][2]["resume"] == mode


def test_going_on_without_a_key_is_refused(run, training):
    done = run("train", DIGITS, "--resume", "auto")
    assert done.exit_code == 2
    assert "--run-key" in done.stderr
    assert not training.calls


def test_the_summary_is_a_result(run, training):  # noqa: ARG001
    done = run("train", DIGITS)
    assert done.stdout.startswith("finished: 100 steps")


def test_json_is_one_object_last_and_alone_on_stdout(run, training):  # noqa: ARG001
    done = run("train", DIGITS, "--json")
    assert json.loads(done.stdout)["metrics"]["valid/loss"] is None
    assert "finished: 100 steps" in done.stderr


@pytest.mark.parametrize(("status", "code"), [("finished", 0), ("failed", 1), ("interrupted", 130)])
@pytest.mark.parametrize("command", [("train", DIGITS), ("resume", "abc")], ids=lambda words: words[0])
def test_the_exit_code_tells_how_training_ended(run, training, status, code, command):
    training.ends_as(status)
    assert run(*command).exit_code == code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("what", "because", "do this"), 2, "error: what\n  why: because\n  fix: do this\n"),
        (DataError("what"), 2, "error: what\n"),
        (TrainingError("what", "because"), 1, "error: what\n  why: because\n"),
        (LostError("what"), 1, "error: what\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("x / 0"), 1, "error: ZeroDivisionError: x / 0\n  why: nothing in distprop expects"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_told_on_stderr_without_a_traceback(run, training, error, code, said):
    training.result = error
    done = run("train", DIGITS)
    assert done.exit_code == code
    assert done.stderr.startswith(f"starting Ray ...\n{said}"), "the first line, which comes at once, and the error"
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_and_then_the_error(run, training):
    training.result = DataError("what")
    done = run("train", DIGITS, "--debug")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert "error: what" in done.stderr


def test_a_wrong_job_is_refused_before_anything_starts(run, training, kernels):
    done = run("train", DIGITS, "--set", "cluster.server=2")
    assert done.exit_code == 2
    assert "unknown key `cluster.server` in --set cluster.server=2" in done.stderr
    assert "did you mean `cluster.servers`?" in done.stderr
    assert not training.calls
    assert not kernels


@pytest.mark.parametrize(
    "words",
    [
        ("train",),
        ("train", DIGITS, "--workers", "0"),
        ("train", DIGITS, "--workers", "many"),
        ("train", DIGITS, "--nothing-like-it"),
        ("train", "nowhere.yaml"),
        ("nothing-like-it",),
        ("predict", "model", "data"),
    ],
    ids=str,
)
def test_wrong_words_are_the_users_mistake(run, training, words):
    assert run(*words).exit_code == 2
    assert not training.calls


def test_resume_goes_on_with_the_kernel_of_the_run(run, training, kernels):
    done = run("resume", "abc", "--workers", 5, "--inline")
    assert done.exit_code == 0
    ((name, what, words),) = training.calls
    assert (name, what, words["workers"], words["inline"]) == ("resume", "abc", 5, True)
    assert kernels == ["auto"]


@pytest.mark.parametrize("words", [("resume", "abc"), ("train", DIGITS, "--run-key", "k")])
def test_what_may_have_ended_already_is_not_said_to_start_ray(run, training, words):  # noqa: ARG001
    done = run(*words)
    assert done.stderr.startswith("looking at what is trained already ...\n")
    assert "starting Ray" not in done.stderr


def test_show_prints_the_job_its_layers_and_its_shards(run, training):
    training.description = DESCRIPTION
    text = run("show", DIGITS).stdout
    for piece in (
        "name: digits",
        "input: 8 x 8 x 1",
        "1.dense        10         650        2,560          40 B\n",
        "650 parameters; 2,560 FLOPs a row, 163,840 a step",
        "1,437 rows to train on, 360 valid, 0 test",
        "    1   719           32              23",
        "23 steps an epoch, 920 in the whole training",
        "2 workers with 1.5 MB each, 1 server with 999 B",
        "ab" * 32,
        "note: leaves of 32 rows",
    ):
        assert piece in text, piece


def test_show_as_json_is_the_description(run, training):
    training.description = DESCRIPTION
    shown = json.loads(run("show", DIGITS, "--json").stdout)
    assert shown["layers"][1]["parameters"] == 650
    assert shown["steps_per_epoch"] == 23


def test_check_tells_each_thing_and_fails_where_one_is_wrong(run, training):
    training.checks = [CheckResult("data", True, "1,797 rows"), CheckResult("memory", True, "scarce", "use less")]
    done = run("check", DIGITS, "--workers", 2)
    assert done.exit_code == 0
    assert done.stdout == "ok  data: 1,797 rows\n!!  memory: scarce\n    fix: use less\n"
    assert training.calls[0][2] == {"workers": 2, "servers": None, "address": None}
    training.checks.append(CheckResult("MLflow", False, "no answer", "start it"))
    done = run("check", DIGITS, "--json")
    assert done.exit_code == 2
    assert [check["ok"] for check in json.loads(done.stdout)] == [True, True, False]
