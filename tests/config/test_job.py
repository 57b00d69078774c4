"""A job loads, is whole, and its recipe is what fixes the numbers and nothing else."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from distprop.config import Interval, Job, load_job, named, parse_job
from distprop.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
JOB = {
    "data": {"train": "x.parquet", "target": "y", "valid": {"fraction": 0.1}},
    "model": [{"dense": 8}, "relu", {"dense": 2}],
    "loss": "softmax_cross_entropy",
    "optimizer": {"sgd": {"learning_rate": 0.1}},
    "train": {"epochs": 2},
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_loads_and_says_where_its_schema_is(path):
    job = load_job(path)
    first = path.read_text().splitlines()[0]
    assert job.name.startswith(path.stem.split("_")[0])
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.split("$schema=")[1]).is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_resolved_yaml_loads_to_an_equal_job(path):
    job = load_job(path)
    again = parse_job(job.to_yaml())
    assert again == job
    assert again.recipe_hash() == job.recipe_hash()
    assert again.to_yaml() == job.to_yaml()


def test_variables_stay_as_written_in_the_resolved_yaml_and_out_of_the_parameters():
    job = load_job(next(path for path in CONFIGS if path.stem == "mnist"))
    assert "${DATA}/mnist/train.parquet" in job.to_yaml()
    assert not any("DATA" in value for value in job.flat().values())


def test_a_job_survives_pickling_with_its_folder():
    job = load_job(CONFIGS[0])
    again = pickle.loads(pickle.dumps(job))
    assert again == job
    assert again.folder == CONFIGS[0].parent.resolve()


def test_a_job_loads_from_a_job_with_overrides():
    job = load_job(load_job(CONFIGS[0]), {"seed": 99})
    assert job.seed == 99
    assert job.folder == CONFIGS[0].parent.resolve()


def test_a_file_without_a_name_gives_the_job_its_own(tmp_path):
    path = tmp_path / "nameless.yaml"
    path.write_text(json.dumps(JOB))  # JSON is YAML
    assert load_job(path).name == "nameless"


def test_a_job_is_frozen():
    with pytest.raises(ValidationError):
        load_job(JOB).seed = 3


def test_loading_leaves_the_callers_mapping_alone():
    mine = copy.deepcopy(JOB)
    load_job(mine, {"model.0.dense": 3, "train.steps": 4, "train.epochs": None})
    assert mine == JOB


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"data.train": "elsewhere.parquet"},
        {"data.test": "test.parquet"},
        {"checkpoint.every": "3 steps"},
        {"checkpoint.keep_last": 5},
        {"checkpoint.dir": "/somewhere"},
        {"tracking.enabled": False},
        {"tracking.uri": "http://localhost:1"},
        {"cluster.workers": {"min": 1, "max": 4}},
        {"data.micro_batch_size": None},
        {"cluster.servers": 2},
        {"cluster.address": "auto"},
        {"cluster.patience_seconds": 3},
        {"faults": [{"kill": "worker", "step": 3}]},
        {"train.epochs": 2.0},
        {"optimizer.clip_norm": None},
    ],
    ids=str,
)
def test_what_cannot_change_the_numbers_is_not_in_the_recipe(change):
    assert load_job(JOB, change).recipe_hash() == load_job(JOB).recipe_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"data.valid": None},
        {"data.valid": "valid.parquet"},
        {"data.valid.stratify": True},
        {"data.features": ["x*"]},
        {"data.augment": [{"shift": 1}, {"flip": "horizontal"}]},
        {"data.target": "z"},
        {"data.classes": ["a", "b"]},
        {"data.shards": 4},
        {"data.batch_size": 64},
        {"data.micro_batch_size": 2},
        {"data.shuffle_rows": 10},
        {"model.1": "tanh"},
        {"loss": "mean_squared_error"},
        {"metrics": ["accuracy"]},
        {"optimizer": {"adam": {"learning_rate": 0.1}}},
        {"optimizer.sgd.learning_rate": 0.2},
        {"optimizer.clip_norm": 1.0},
        {"optimizer.clip_value": 1.0},
        {"optimizer.decay_exclude": ["*.b"]},
        {"optimizer.rates": {"0.*": 0.1}},
        {"optimizer.average": 0.9},
        {"optimizer.accumulate": 2},
        {"train.epochs": 3},
        {"train.evaluate_every": "5 steps"},
        {"train.early_stopping": {"metric": "valid/loss", "patience": 2}},
        {"checkpoint.keep_best": "valid/loss"},
        {"numerics.blas_kernel": "haswell"},
    ],
    ids=str,
)
def test_what_can_change_the_numbers_is_in_the_recipe(change):
    assert load_job(JOB, change).recipe_hash() != load_job(JOB).recipe_hash()


@pytest.mark.parametrize("key", ["data.augment", "data.features"])
def test_the_order_of_augmentations_and_transforms_is_in_the_recipe(key):
    first, second = {"scale": 2}, {"log": {"add": 1, "absolute": True}}
    orders = [[first, second], [second, first]] if key == "data.augment" else [
        {"a": first | second}, {"a": second | first}, {"a": [first, second]}]  # fmt: skip
    hashes = {load_job(JOB, {key: order}).recipe_hash() for order in orders}
    assert len(hashes) == len(orders)
    swapped = {"data.features": {"a": first | {"log": {"absolute": True, "add": 1}}}}
    assert key == "data.augment" or load_job(JOB, swapped).recipe_hash() in hashes


def test_the_order_of_feature_columns_is_in_the_recipe_and_the_order_of_keys_is_not():
    ab, ba = ({"data.features": dict.fromkeys(order)} for order in ("ab", "ba"))
    assert load_job(JOB, ab).recipe_hash() != load_job(JOB, ba).recipe_hash()
    assert load_job(dict(reversed(JOB.items()))).recipe_hash() == load_job(JOB).recipe_hash()


@pytest.mark.parametrize("text", ["optimizer.sgd.learning_rate=.nan", "model.0.dense=2020-01-01"])
def test_settings_hold_plain_values_only(text):
    with pytest.raises(ConfigError, match=f"in --set {text}"):
        load_job(JOB, [text])


def test_parameters_are_flat_texts_with_names_that_mlflow_takes():
    flat = load_job(JOB, {"data.features": {"a[0]@+": {"log": {"shift": 1}}}, "metrics": ["accuracy"]}).flat()
    assert flat["optimizer.sgd.learning_rate"] == "0.1"
    assert flat["model.0.dense"] == "8"
    assert flat["model.1"] == "relu"
    assert flat["data.features.a_0___.log.shift"] == "1"
    assert flat["metrics"] == '["accuracy"]'
    assert flat["optimizer.clip_norm"] == "null"
    assert not any(key.startswith(("cluster", "tracking", "faults", "data.train")) for key in flat)


def test_a_spec_is_a_name_or_one_name_with_settings():
    assert [named(spec) for spec in ("relu", {"dense": 3})] == [("relu", None), ("dense", 3)]


@given(st.integers(1, 10**6), st.sampled_from(["step", "epoch"]), st.integers(1, 1000))
@settings(max_examples=25, deadline=None)
def test_an_interval_reads_as_it_is_written_and_counts_whole_steps(count, unit, steps_per_epoch):
    job = load_job(JOB, {"train.evaluate_every": f"{count} {unit}s"})
    interval = job.train.evaluate_every
    assert parse_job(job.to_yaml()).train.evaluate_every == interval
    assert interval.steps(steps_per_epoch) == count * (steps_per_epoch if unit == "epoch" else 1)


def test_an_interval_is_never_less_than_a_step():
    assert Interval(0.001, "epochs").steps(10) == 1
    assert Interval(0.5, "epochs").steps(10) == 5


def test_the_length_of_a_training_is_in_steps_or_in_epochs():
    assert load_job(JOB).train.last_version(steps_per_epoch=10) == 20
    by_steps = load_job(JOB, {"train": {"steps": 7}})
    assert by_steps.train.last_version(steps_per_epoch=10) == 7
    assert load_job(JOB, {"train": {"epochs": 0.01}}).train.last_version(steps_per_epoch=10) == 1


def test_a_job_with_rows_in_memory_needs_no_path():
    data = {key: value for key, value in JOB["data"].items() if key != "train"}
    assert load_job({**JOB, "data": data}, in_memory=True).data.train is None
    with pytest.raises(ConfigError, match=r"missing key `data.train`"):
        load_job({**JOB, "data": data})


def test_equal_jobs_have_equal_hashes():
    assert len({load_job(JOB), load_job(JOB)}) == 1
    assert isinstance(load_job(JOB), Job)
    assert load_job(JOB) != load_job(JOB, {"name": "other"})
