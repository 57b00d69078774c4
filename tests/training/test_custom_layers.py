"""A layer of the user's own is trained like any other, wherever its module can be found."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from distprop import manifest
from distprop.cli import main
from distprop.config import load_job, parse_job
from distprop.errors import ConfigError, TrustError
from distprop.nn.layers import build_layer
from distprop.training import entry, resume
from distprop.training.checking import check_here
from distprop.training.request import Request
from tests.blocks import ROOT, blocks
from tests.runtime.small import run, small_job, stop_at

MODULE = "layers_of_a_test"
MODEL: list[Any] = [{"dense": 9}, {f"{MODULE}:swish": {"beta": 2}}, {"residual": [f"{MODULE}:swish"]}, {"dense": 3}]


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """A folder with the module that the page on layers shows."""
    (page,) = [block for block in blocks(ROOT / "docs/layers.md") if block.language == "python"]
    (tmp_path / f"{MODULE}.py").write_text(page.text)
    yield tmp_path
    sys.modules.pop(MODULE, None)


def job_in(folder: Path, rows: str, model: list[Any] = MODEL) -> Any:
    job = load_job(small_job(rows, folder / "checkpoints", model=model))
    job._folder = folder
    return job


def test_it_trains_with_the_same_bits_on_any_workers(beside: Path, rows: str) -> None:
    job = job_in(beside, rows)
    assert run(job).numbers == run(job, 2, (0, 1, 1)).numbers


def test_its_settings_count_and_are_in_the_recipe(beside: Path, rows: str) -> None:
    other = [{"dense": 9}, f"{MODULE}:swish", {"residual": [f"{MODULE}:swish"]}, {"dense": 3}]
    first, second = job_in(beside, rows), job_in(beside, rows, other)
    assert first.recipe_hash() != second.recipe_hash()
    assert run(first).result.digest != run(second).result.digest


def test_the_check_tries_its_gradient(beside: Path, rows: str) -> None:
    found = {result.name: result for result in check_here(Request(job_in(beside, rows), inline=True))}
    assert found["gradients"].ok


def test_a_checkpoint_runs_it_only_where_it_is_trusted(
    beside: Path, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(beside, rows)
    whole = run(job).result
    saved = run(job, listeners=[stop_at(4)]).result.checkpoint
    monkeypatch.chdir(beside)
    sys.modules.pop(MODULE)
    with pytest.raises(TrustError, match=f"wants to run {MODULE}:swish"):
        resume(saved, inline=True)
    assert MODULE not in sys.modules
    assert resume(saved, inline=True, trust=[MODULE]).digest == whole.digest


@pytest.mark.parametrize("model", ["os:abort", [{"dense": 3}, {"os:system": {"command": "touch ran"}}]], ids=str)
def test_a_checkpoint_that_names_a_function_runs_nothing(model: Any, beside: Path, rows: str) -> None:
    """Its manifest has a checksum, which whoever wrote it can make."""
    saved = Path(str(run(job_in(beside, rows, MODEL[:1] + MODEL[-1:]), listeners=[stop_at(4)]).result.checkpoint))
    found, _ = manifest.read((saved / manifest.FILE).read_bytes())
    config = json.dumps({**parse_job(found.config).plain(), "model": model})
    (saved / manifest.FILE).write_bytes(manifest.write(replace(found, config=config)))
    ran = CliRunner().invoke(main, ["resume", str(saved), "--inline"])
    assert ran.exit_code == 2 and "wants to run os:" in ran.output and "--trust os" in ran.output
    assert not (Path.cwd() / "ran").exists()


def test_several_starts_of_it_need_no_more_trust_than_one(beside: Path, rows: str) -> None:
    several = load_job(job_in(beside, rows), {"train.starts": 2, "train.epochs": 1})
    assert run(several).result.start in (0, 1)


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        ("nowhere_at_all:swish", "beside the config"),
        (f"{MODULE}:relu", "has no function"),
        ({f"{MODULE}:swish": {"bta": 1}}, "beta"),
        (f"{MODULE}:np", "no function"),
        ("os:getcwd", "returns a distprop.nn.layer.Layer"),
    ],
    ids=str,
)
def test_what_makes_no_layer_is_refused(layer: Any, word: str, beside: Path, rows: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(job_in(beside, rows, [{"dense": 9}, layer, {"dense": 3}]))
    assert word in str(caught.value) and caught.value.fix


def test_layer_objects_are_named_by_the_function_that_made_them(
    beside: Path, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(beside))
    swish = import_module(MODULE).swish
    objects = [build_layer({"dense": 9}), swish(beta=2), build_layer({"residual": [swish()]}), {"dense": 3}]
    assert run(job_in(beside, rows, objects)).numbers == run(job_in(beside, rows)).numbers


def test_a_function_of_a_module_may_return_layer_objects_and_is_trained_in_another_process(
    beside: Path, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (beside / f"{MODULE}.py").open("a") as source:
        source.write("\n\ndef build(shape, outputs):\n    return [{'dense': 9}, swish(2), {'dense': outputs}]\n")
    monkeypatch.syspath_prepend(str(beside))
    monkeypatch.setattr(entry, "in_force", lambda _: False)  # as in a process that has loaded NumPy before
    job = small_job(rows, beside / "checkpoints", model=f"{MODULE}:build")
    listed = small_job(rows, beside / "others", model=[{"dense": 9}, {f"{MODULE}:swish": {"beta": 2}}, {"dense": 3}])
    assert entry.train(job, inline=True).digest == entry.train(listed, inline=True).digest


def test_functions_and_layers_of_the_script_itself_are_refused_with_where_to_put_them(
    beside: Path, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"(?s)function of the script.*my_nets:build"):
        entry.train(small_job(rows, beside, model="__main__:build"), inline=True)
    monkeypatch.syspath_prepend(str(beside))
    layer = import_module(MODULE).swish()
    layer.forward.__module__ = "__main__"
    with pytest.raises(ConfigError, match=r"(?s)swish cannot be made again.*my_layers:swish"):
        entry.train(small_job(rows, beside, model=[layer, {"dense": 3}]), inline=True)
