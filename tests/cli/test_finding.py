"""`distprop find-rate`: what it asks for, and what it prints."""

import json

import pytest

from distprop.report import RateTest
from tests.cli.conftest import CONFIGS

FOUND = RateTest((1e-4, 1e-3, 1e-2, 1e-1), (2.0, 1.5, 0.5, 9.0), 1e-3, 1e-2, 1e-1)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_suggestion_is_printed_with_a_curve_and_a_picture(run, training, here):
    training.result = FOUND
    ran = run("find-rate", CONFIGS / "digits.yaml", "--from", "1e-4", "--steps", "50", "--inline", "--workers", "2")
    assert ran.exit_code == 0, ran.output
    lines = ran.stdout.splitlines()
    assert lines[1:4] == [f"1.00e-04  2.0000  {'#' * 40}", f"1.00e-03  1.5000  {'#' * 27}", "1.00e-02  0.5000"]
    assert "learning_rate 1.0e-03" in ran.stdout and "breaks at 1.0e-01" in ran.stdout
    assert (here / "digits_rates.png").stat().st_size > 2000
    ((what, job, words),) = training.calls
    assert (what, job.name) == ("find_rate", "digits")
    assert (words["lowest"], words["steps"], words["inline"], words["workers"]) == (1e-4, 50, True, 2)


def test_json_is_alone_on_stdout(run, training, here):
    training.result = FOUND
    ran = run("find-rate", CONFIGS / "digits.yaml", "--json", "--picture", "other.png")
    assert json.loads(ran.stdout)["suggestion"] == 1e-3
    assert (here / "other.png").exists()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (RateTest((), (), None, None, None), "no step had a finite loss"),
        (RateTest((1e-4, 1e-3), (2.0, 2.0), None, None, None), "fell at none of these rates"),
    ],
)
def test_what_was_not_found_is_said(run, training, found, said):
    training.result = found
    ran = run("find-rate", CONFIGS / "digits.yaml")
    assert ran.exit_code == 0 and said in ran.stdout
