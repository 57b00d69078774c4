"""The applications: their configs resolve, and train a few steps on the data that they are about."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import distprop as dp
from distprop.cli import main
from distprop.config import load_job
from tests.data.made import SHARED

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs/applications").glob("*.yaml"))
FEW = {
    "train.epochs": None,
    "train.steps": 3,
    "data.test": None,
    "train.early_stopping": None,
    "tracking.enabled": False,
}
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@pytest.fixture
def data(path, monkeypatch):
    """The tables that the config at `path` names; skips where they are not there."""
    missing = [table for table in tables(path) if not (SHARED / table).exists()]
    if missing:
        pytest.skip(f"{SHARED / missing[0]} is not there (set DATA to the folder of the shared tables)")
    monkeypatch.setenv("DATA", str(SHARED))


def tables(path: Path) -> list[str]:
    data = load_job(path).data
    paths = [str(one) for one in (data.train, data.valid, data.test) if "${DATA}" in str(one)]
    return [one.removeprefix("${DATA}/") for one in paths]


def test_there_are_the_five_applications():
    names = {path.stem for path in CONFIGS}
    assert names >= {"image_recognition", "speech_recognition", "financial_forecasting", "medical_diagnosis",
                     "autonomous_driving"}  # fmt: skip


@each_config
def test_an_application_says_its_name_and_where_its_schema_and_its_page_are(path):
    job, text = load_job(path), path.read_text()
    first, second = text.splitlines()[:2]
    assert job.name == path.stem.replace("_", "-")
    assert (path.parent / first.split("$schema=")[1]).is_file()
    assert (ROOT / second.split("See ")[1].removesuffix(".")).is_file()
    assert len(tables(path)) >= 2


@each_config
def test_an_application_chooses_its_model_by_validation_and_tests_once(path):
    job = load_job(path)
    assert job.checkpoint.keep_best.startswith("valid/")
    assert "test.parquet" in str(job.data.test)
    assert "test.parquet" not in f"{job.data.train} {job.data.valid}"


@each_config
@pytest.mark.scenario
@pytest.mark.usefixtures("data")
def test_an_application_is_shown(path):
    result = CliRunner().invoke(main, ["show", str(path)])
    assert result.exit_code == 0, result.output
    assert "rows to train on" in result.output


@each_config
@pytest.mark.scenario
@pytest.mark.usefixtures("data")
def test_an_application_trains_a_few_steps(path, tmp_path):
    result = dp.train(path, inline=True, overrides=FEW | {"checkpoint.dir": str(tmp_path)})
    assert result.steps == 3
    assert load_job(path).checkpoint.keep_best in result.metrics
