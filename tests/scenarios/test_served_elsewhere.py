"""A logged model where distprop is not installed: its code travels with it, and no index is asked for us."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distprop import flavor
from distprop.loops import playing
from tests.model.cases import images, numbers, table
from tests.scenarios.looking import MLFLOWS_OWN

pytestmark = [pytest.mark.scenario, pytest.mark.filterwarnings(*MLFLOWS_OWN)]

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
PREDICT = """
import json, sys
sys.path[:0] = sys.argv[2:]  # none: the packages of the test's own Python
import mlflow
for path in json.loads(sys.argv[1]):
    model = mlflow.pyfunc.load_model(path)
    print(json.dumps(model.predict(model.input_example, params={"output": "raw"}).tolist()))
import distprop
print(distprop.__file__)
"""
VIRTUALENV = "DISTPROP_TEST_VIRTUALENV"  # 1: make one from the model's requirements, which downloads 200 MB


@pytest.fixture
def saved(tmp_path: Path) -> list[Path]:
    """Three kinds of models, logged."""
    made = [images(), table(), numbers()]
    folders = [model.save(tmp_path / f"model-{place}") for place, model in enumerate(made)]
    return [flavor.save_model(folder, tmp_path / f"logged-{place}") for place, folder in enumerate(folders)]


@pytest.fixture
def without_us(tmp_path: Path) -> Path:
    """The packages that are installed here, all but distprop."""
    made = tmp_path / "site-packages"
    made.mkdir()
    for folder in map(Path, dict.fromkeys(place for place in sys.path if place.endswith("-packages"))):
        for entry in folder.iterdir():
            ours = "distprop" in entry.name or entry.suffix == ".pth"
            if not ours and not (made / entry.name).exists():
                (made / entry.name).symlink_to(entry)
    return made


def predict(saved: list[Path], *path: Path) -> list[str]:
    """What a Python that has only these packages prints."""
    alone = ("-I", "-S") if path else ()
    command = [sys.executable, *alone, "-c", PREDICT, json.dumps([str(one) for one in saved]), *map(str, path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def expected(saved: list[Path]) -> list[str]:
    found = []
    for place in saved:
        model = flavor.load_predictor(str(place)).model
        found.append(json.dumps(model.predict_raw(flavor.input_example(model)).tolist()))
    return found


def test_models_predict_the_same_bits_where_distprop_is_not_installed(saved: list[Path], without_us: Path) -> None:
    *outputs, where = predict(saved, without_us)
    assert outputs == expected(saved)
    assert where.endswith("code/distprop.zip/distprop/__init__.py")


def test_a_package_of_another_project_that_has_our_name_is_not_run(
    saved: list[Path], without_us: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign" / "distprop"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("raise SystemExit('the code of another project was run')\n")
    *outputs, where = predict(saved, foreign.parent, without_us)
    assert outputs == expected(saved)
    assert where.endswith("code/distprop.zip/distprop/__init__.py")


def test_an_installed_distprop_is_preferred_to_the_copy(saved: list[Path]) -> None:
    *outputs, where = predict(saved)
    assert outputs == expected(saved)
    assert "distprop.zip" not in where
    assert Path(where).parent == Path(playing.__file__).parents[1]


@pytest.mark.timeout(600)
@pytest.mark.skipif(os.environ.get(VIRTUALENV) != "1", reason=f"makes a virtualenv: set {VIRTUALENV}=1")
def test_a_model_is_served_in_a_virtualenv_made_from_its_own_requirements(saved: list[Path], tmp_path: Path) -> None:
    pyenv = shutil.which("pyenv") or shutil.which("pyenv", path=str(Path("~/.pyenv/bin").expanduser()))
    if pyenv is None:
        pytest.skip("MLflow makes virtualenvs with pyenv, which is not here")
    rows, out = tmp_path / "rows.json", tmp_path / "out.json"
    rows.write_text(json.dumps({"inputs": PIXELS.tolist()}))
    words = ["models", "predict", "-m", saved[0], "-i", rows, "-o", out, "--env-manager", "virtualenv"]
    path = os.pathsep.join([str(Path(pyenv).parent), os.environ["PATH"]])
    ran = subprocess.run(
        [sys.executable, "-m", "mlflow", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "MLFLOW_ENV_ROOT": str(tmp_path / "environments")},
    )
    if ran.returncode and "No matching distribution found" in ran.stderr:
        pytest.skip("the package index is not reached from here")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(out.read_text())["predictions"] == images().predict(PIXELS).tolist()
    assert not list(tmp_path.glob("environments/**/distprop*"))
