"""A logged model where distprop is not installed: its code travels with it, and no index is asked for us."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

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


def answer(server: "subprocess.Popen[bytes]", port: int, log: Path) -> list[int]:
    """What the server says about PIXELS, once it is there."""
    body = json.dumps({"inputs": PIXELS.tolist()}).encode()
    asked = Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    while server.poll() is None:
        with suppress(OSError), urlopen(asked, timeout=10) as reply:
            found: list[int] = json.load(reply)["predictions"]
            return found
        time.sleep(1)
    if "No matching distribution found" in log.read_text():
        pytest.skip("the package index is not reached from here")
    raise AssertionError(log.read_text())


@pytest.mark.timeout(900)
@pytest.mark.skipif(os.environ.get(VIRTUALENV) != "1", reason=f"takes four minutes: set {VIRTUALENV}=1")
def test_a_model_is_served_in_a_virtualenv_made_from_its_own_requirements(saved: list[Path], tmp_path: Path) -> None:
    pyenv = shutil.which("pyenv", path=os.pathsep.join([os.environ["PATH"], str(Path("~/.pyenv/bin").expanduser())]))
    if pyenv is None:
        pytest.skip("MLflow makes virtualenvs with pyenv, which is not here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", saved[0], "--port", port, "--env-manager", "virtualenv"]
    path = os.pathsep.join([str(Path(pyenv).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MLFLOW_ENV_ROOT": str(tmp_path / "environments")}
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "mlflow", *map(str, words)]
        server = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=tmp_path, env=environment, start_new_session=True
        )
    try:
        assert answer(server, port, log) == images().predict(PIXELS).tolist()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert not list(tmp_path.glob("environments/*/lib/*/site-packages/distprop*")), "nothing of ours was fetched"
