"""The commands one after the other, each in a process of its own, as a person types them."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pyarrow.parquet as pq
import pytest

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(find_spec("sklearn") is None, reason="the samples come with scikit-learn"),
]
QUICK = ("--inline", "--set", "train.epochs=3", "--set", "tracking.enabled=false", "--json")


@pytest.fixture
def typed(tmp_path):
    def run(*words, **presets):
        environment = {**os.environ, "DISTPROP_CACHE": str(tmp_path / "cache"), **presets}
        command = [sys.executable, "-m", "distprop", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_config_from_init_trains_and_its_model_predicts(typed, tmp_path):
    assert typed("init", "sample://wine", "--target", "label").stdout == "next: distprop train wine.yaml\n"
    trained = typed("train", "wine.yaml", *QUICK)
    assert trained.returncode == 0, trained.stderr
    result = json.loads(trained.stdout.splitlines()[-1])
    assert (result["status"], result["epochs"]) == ("finished", 3)
    predicted = typed("predict", result["model_uri"], "sample://wine", "--out", "out.parquet", "--keep", "label")
    assert predicted.returncode == 0, predicted.stderr
    table = pq.read_table(tmp_path / "out.parquet")
    right = (table["label"].to_numpy() == table["prediction"].to_numpy()).mean()
    evaluated = json.loads(typed("evaluate", result["model_uri"], "sample://wine", "--json").stdout)
    assert evaluated["accuracy"] == pytest.approx(right)
    assert evaluated["rows"] == 178
    preset = typed("train", "wine.yaml", *QUICK, OPENBLAS_CORETYPE="Nehalem", OPENBLAS_NUM_THREADS="2")
    again = json.loads(preset.stdout.splitlines()[-1])  # what the shell presets does not count
    assert (again["digest"], again["metrics"]) == (result["digest"], result["metrics"])
