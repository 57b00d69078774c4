"""`--set a.b=c`, variables, models in Python, and the shipped schema."""

import json
import sys

import jsonschema
import pytest
from ruamel.yaml import YAML

from distprop.config import expand, load_job, with_layers
from distprop.config.schema import FILE, schema, text
from distprop.errors import ConfigError
from distprop.suggest import suggest_name
from tests.config.test_job import CONFIGS, JOB


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.epochs=3", lambda job: job.train.epochs == 3),
        ("optimizer.sgd.learning_rate=1e-3", lambda job: job.optimizer.settings["learning_rate"] == 0.001),
        (
            "optimizer={adam: {b1: 0.8}}",
            lambda job: (job.optimizer.name, job.optimizer.settings) == ("adam", {"b1": 0.8}),
        ),
        ("model.0.dense=64", lambda job: job.model[0] == {"dense": 64}),
        ("model.1.leaky_relu.slope=0.1", lambda job: job.model[1] == {"leaky_relu": {"slope": 0.1}}),
        ("data.valid=null", lambda job: job.data.valid is None),
        ("data.valid=[a, b]", lambda job: job.data.valid == ("a", "b")),
        ("data.train=a=b.parquet", lambda job: job.data.train == "a=b.parquet"),
        ("cluster.workers.min=1", lambda job: job.cluster.workers.min == 1),
        ("tracking.tags.team=vision", lambda job: job.tracking.tags == {"team": "vision"}),
    ],
)
def test_an_override_is_a_path_and_a_value_in_yaml(override, read):
    also = ["cluster.workers.max=4"] if "workers" in override else []
    assert read(load_job(JOB, [override, *also]))


def test_later_overrides_win():
    assert load_job(JOB, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("train.epohcs=3", "unknown key `train.epohcs` in --set train.epohcs=3"),
        ("train.epochs=x", "not x, in --set train.epochs=x"),
        ("data.valid={fraction: 3}", "less than 1, not 3, in --set data.valid={fraction: 3}"),
        ("seed", "`--set seed` sets nothing"),
        ("=3", "sets nothing"),
        ("a..b=3", "sets nothing"),
        ("model.7=relu", "no place 7 in the list"),
        ("model.x=relu", "no place x in the list"),
        ("seed=[1", "no valid YAML"),
    ],
)
def test_a_wrong_override_is_named(override, what):
    with pytest.raises(ConfigError) as caught:
        load_job(JOB, [override])
    assert what in caught.value.what
    assert caught.value.why
    assert caught.value.fix


def test_a_variable_is_replaced_and_may_have_a_default(monkeypatch):
    monkeypatch.setenv("DATA_HERE", "/data")
    monkeypatch.delenv("NOT_SET", raising=False)
    assert expand("${DATA_HERE}/x.parquet") == "/data/x.parquet"
    assert expand("${NOT_SET:-/elsewhere}/x") == "/elsewhere/x"
    assert expand("${NOT_SET:-}x") == "x"
    assert expand("no variable, $HOME too") == "no variable, $HOME too"


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError) as caught:
        expand("${NOT_SET}/x.parquet")
    assert caught.value.what == "the environment variable NOT_SET is not set"
    assert "${NOT_SET}/x.parquet" in caught.value.why
    assert "export NOT_SET=" in caught.value.fix


@pytest.fixture
def job_with_module(tmp_path):
    def make(source):
        (tmp_path / "nets_beside.py").write_text(source)
        (tmp_path / "job.yaml").write_text(json.dumps({**JOB, "model": "nets_beside:build"}))
        return load_job(tmp_path / "job.yaml")

    yield make
    sys.modules.pop("nets_beside", None)


def test_a_model_may_be_a_function_in_a_module_beside_the_config(job_with_module):
    job = job_with_module(
        "def build(input_shape, outputs):\n    return [{'dense': input_shape[0]}, {'dense': outputs}]\n"
    )
    whole = with_layers(job, (5,), 3)
    assert whole.model == ({"dense": 5}, {"dense": 3})
    assert whole.recipe()["model"] == [{"dense": 5}, {"dense": 3}]
    assert with_layers(whole, (9,), 9) is whole
    assert str(job.folder) not in sys.path


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import nothing_like_this", "cannot import the module"),
        ("built = 3", "names no function"),
        ("def build(shape, outputs):\n    return 'relu'", "returned a str"),
        (
            "def build(shape, outputs):\n    return [{'dense': 3, 'relu': 1}]",
            "`model.0`: a mapping with 2 keys",
        ),
    ],
)
def test_a_module_that_gives_no_layers_is_named(job_with_module, source, what):
    with pytest.raises(ConfigError) as caught:
        with_layers(job_with_module(source), (5,), 3)
    assert what in caught.value.what
    assert caught.value.fix


def test_the_shipped_schema_is_that_of_the_models():
    assert FILE.read_text() == text(), "run: python -m distprop.config.schema"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_follows_the_schema(path):
    jsonschema.validate(YAML(typ="safe", pure=True).load(path), schema())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_resolved_config_follows_the_schema(path):
    jsonschema.validate(load_job(path).plain(), schema())


@pytest.mark.parametrize("change", [{"zzz": 1}, {"seed": "x"}, {"cluster": {"workers": 0}}, {"optimizer": {}}], ids=str)
def test_the_schema_refuses_what_the_models_refuse(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**JOB, **change}, schema())
    with pytest.raises(ConfigError):
        load_job({**JOB, **change})


def test_a_guess_is_the_nearest_name_or_all_of_them():
    assert suggest_name("adamW", ["adam", "adamw"]) == "did you mean `adamw`?"
    assert suggest_name("tahn", ["tanh", "relu"], prefix="model.") == "did you mean `model.tanh`?"
    assert suggest_name("xyz", ["b", "a"]) == "use one of: a, b"
    assert suggest_name("xyz", []) == ""
