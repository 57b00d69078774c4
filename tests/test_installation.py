import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distprop.installation import PACKAGE, hidden_package, uncompiled

ROOT = PACKAGE.parent
IMPORT = "import distprop, subprocess, sys; print(distprop.__file__); "
AGAIN = "subprocess.run([sys.executable, '-c', 'import distprop'], check=True)"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which nothing was compiled."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(PACKAGE, folder / "distprop", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Site packages with a compiled distprop: compiled files in name alone, since nothing here runs them."""
    folder = tmp_path_factory.mktemp("site-packages")
    shutil.copytree(PACKAGE, folder / "distprop", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in uncompiled(folder / "distprop"):
        (folder / "distprop" / f"{name}.abi3.so").write_bytes(b"")
    return folder


def run(*words: str, path: Path | None, here: Path) -> "subprocess.CompletedProcess[str]":
    """A Python in the folder `here`, which it looks into first; then into `path`."""
    places = [str(path)] if path is not None else []
    others = [place for place in sys.path if place.endswith("-packages")]
    told = {name: text for name, text in os.environ.items() if not name.startswith("DISTPROP_")}
    environment = {**told, "PYTHONPATH": os.pathsep.join([*places, *others])}
    return subprocess.run(
        [sys.executable, *words], cwd=here, env=environment, capture_output=True, text=True, timeout=60
    )


def test_all_that_setup_compiles_is_known(clone: Path) -> None:
    wanted = re.findall(r'"((?:loops|runtime\.wire)\._\w+)"', (ROOT / "setup.py").read_text())
    assert wanted
    assert {name.replace("/", ".") for name in uncompiled(clone / "distprop")} == set(wanted)


def test_a_clone_that_hides_a_compiled_package_warns_once(clone: Path, installed: Path) -> None:
    ran = run("-c", IMPORT + AGAIN, path=installed, here=clone)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(clone / "distprop" / "__init__.py")
    assert ran.stderr.count("not compiled") == 1, "in processes that it starts not again"
    assert str(installed / "distprop") in ran.stderr
    assert "pip install -e ." in ran.stderr


def test_its_commands_warn_too(clone: Path, installed: Path) -> None:
    ran = run("-m", "distprop", "show", "nothing.yaml", path=installed, here=clone)
    assert ran.returncode == 2
    assert ran.stderr.count("not compiled") == 1


def test_who_hides_nothing_is_not_warned(clone: Path, installed: Path, tmp_path: Path) -> None:
    assert "not compiled" not in run("-c", IMPORT, path=clone, here=tmp_path).stderr, "the only one, uncompiled"
    assert "not compiled" not in run("-c", IMPORT, path=installed, here=tmp_path).stderr, "the compiled one"
    assert hidden_package(installed / "distprop") is None


def test_benchmarks_refuse_what_is_not_compiled(clone: Path, installed: Path) -> None:
    ran = run("-m", "benchmarks", "start", "--quick", path=installed, here=clone)
    assert ran.returncode == 2, ran
    assert f"distprop in {clone / 'distprop'} is not compiled" in ran.stderr
    assert "loops/_compiled" in ran.stderr
    assert str(installed / "distprop") in ran.stderr
    assert ran.stdout == ""
