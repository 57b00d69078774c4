"""The README's commands are the ones that continuous integration runs, and its examples run."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from distprop.cli import main
from tests.blocks import ROOT, blocks

README = ROOT / "README.md"
RUN, TEST = (line for line in README.read_text().splitlines() if line.startswith("python3 -m venv"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_both_commands_do_all_set_up_in_one_line():
    venv, install, run = RUN.split(" && ")
    assert (venv, install) == ("python3 -m venv .venv", ".venv/bin/pip install -q '.[all]'")
    assert run == ".venv/bin/distprop train configs/digits.yaml"
    assert TEST.split(" && ")[1:] == [".venv/bin/pip install -q -e '.[dev]'", ".venv/bin/python -m pytest"]


def test_the_extras_that_the_commands_install_are_there():
    named = {name for command in (RUN, TEST) for name in re.findall(r"\[(\w+)\]", command)}
    assert named == {"all", "dev"} <= PROJECT["optional-dependencies"].keys()


def test_continuous_integration_takes_the_test_command_from_the_readme():
    pattern = re.search(r"grep -m1 -E '([^']+)' README.md", (ROOT / ".ci/run").read_text())
    assert pattern is not None
    assert [line for line in README.read_text().splitlines() if re.search(pattern[1], line)] == [TEST]


def test_continuous_integration_is_a_script_that_bash_reads():
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)


def distprop_lines() -> list[str]:
    """All lines of the documents that call the command."""
    documents = (README, *sorted((ROOT / "docs").rglob("*.md")))
    found = [
        block.text.splitlines() for one in documents for block in blocks(one) if block.language in ("sh", "console")
    ]
    return [line for lines in found for line in lines if re.match(r"(\S+/)?distprop ", line)]


@pytest.mark.parametrize("line", distprop_lines())
def test_the_command_and_its_options_exist(line: str):
    _, name, *words = line.partition("#")[0].split()
    command = main.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert isinstance(command, click.Command)


@pytest.mark.scenario
@pytest.mark.parametrize("block", [block for block in blocks(README) if block.language == "python"], ids=str)
def test_the_python_examples_run(block, tmp_path: Path, request: pytest.FixtureRequest):
    """As a script of its own, with the configs beside it. Only the sample's source may be missing."""
    pytest.importorskip("sklearn", reason="the example trains on a sample, which scikit-learn has")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    if find_spec("mlflow"):  # where runs are kept is not made anew for each test
        shutil.copy(request.getfixturevalue("new_store"), tmp_path / "mlflow.db")
    script = tmp_path / "example.py"
    script.write_text(block.text)
    run = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    accuracy, digest = run.stdout.split()[-2:]
    assert 0.5 < float(accuracy) <= 1
    assert re.fullmatch("[0-9a-f]{64}", digest)
