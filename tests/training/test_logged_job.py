from pathlib import Path
from typing import Any

import pytest

from distprop.config import load_job
from distprop.training.assembling import assemble
from distprop.training.logged_job import logged_source, run_parameters
from tests.scenarios.making import job, write_rows


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("KEY", "secret")
    return write_rows(tmp_path / "rows.parquet")


def test_a_local_path_is_logged_with_its_variables_filled_in(rows: Path) -> None:
    assert logged_source("${DATA}/rows.parquet") == str(rows)
    assert logged_source("${DATA}/part-*.parquet") == f"{rows.parent}/part-*.parquet"
    assert logged_source("${NOT_SET:-rows.parquet}") == "rows.parquet"
    assert logged_source("rows.parquet") == "rows.parquet"


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("written", ["s3://me:${KEY}@host/rows.parquet", "${SCHEME:-s3://}${KEY}/rows", "${KEY}/a/b"])
def test_an_address_is_logged_as_it_was_written(written: str) -> None:
    assert logged_source(written) == written


def layers_of(config: Any) -> tuple[set[str], set[str]]:
    """The layers by the network, and by the parameters of the run."""
    assembly = assemble(load_job(config, ()))
    named = {name for name in run_parameters(assembly) if name.startswith("model.")}
    return {layer.name for layer in assembly.blueprint.network.summary()}, named


@pytest.mark.usefixtures("rows")
def test_parameters_name_layers_as_metrics_do() -> None:
    layers, parameters = layers_of(job(model=[{"dense": 8}, "relu", {"dense": 3}]))
    assert layers == {"0.dense", "1.relu", "2.dense"}
    assert parameters == {"model.0.dense", "model.1", "model.2.dense"}


def test_they_do_so_where_a_flatten_was_put_in_front() -> None:
    pytest.importorskip("sklearn")
    layers, parameters = layers_of(Path(__file__).parents[2] / "configs" / "digits.yaml")
    assert layers == {"0.flatten", "1.dense", "2.relu", "3.dense"}
    assert parameters == {"model.1.dense", "model.2", "model.3.dense"}
