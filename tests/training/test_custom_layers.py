"""A layer of the user's own is trained like any other, wherever its module can be found."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distprop.config import load_job
from distprop.errors import ConfigError
from distprop.training.checking import check_here
from distprop.training.request import Request
from tests.blocks import ROOT, blocks
from tests.runtime.small import run, small_job

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
