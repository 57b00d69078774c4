"""Each mistake in a job ends in one ConfigError that says what, where, why, and what to write instead."""

import pytest

from distprop.config import load_job
from distprop.errors import ConfigError

TEXT = """\
name: small
data:
  train: x.parquet
  valid: {fraction: 0.1}
  target: y
model:
  - dense: 8
  - relu
loss: softmax_cross_entropy
optimizer:
  adamw: {learning_rate: 1e-3}
train: {epochs: 2}
cluster:
  workers: 2
"""

MISTAKES = [  # (what is written, instead of, pieces of what, piece of the fix)
    (
        "workers: 2",
        "worker: 2",
        "unknown key `cluster.worker` in {file}, line 14",
        "did you mean `cluster.workers`?",
    ),
    ("cluster:", "clutser:", "unknown key `clutser` in {file}, line 13", "did you mean `cluster`?"),
    (
        "fraction: 0.1",
        "fractoin: 0.1",
        "unknown key `data.valid.fractoin` in {file}, line 4",
        "data.valid.fraction",
    ),
    ("epochs: 2", "epoch: 2", "unknown key `train.epoch` in {file}, line 12", "did you mean `train.epochs`?"),
    ("epochs: 2", "zzz: 2", "unknown key `train.zzz`", "use one of: early_stopping, epochs"),
    ("  target: y\n", "", "missing key `data.target` in {file}, line 2", "`target: label`"),
    ("loss: softmax_cross_entropy\n", "", "missing key `loss` in {file}", "`loss: softmax_cross_entropy`"),
    ("  train: x.parquet\n", "", "missing key `data.train` in {file}, line 2", "`train: data/train.parquet`"),
    (
        "epochs: 2",
        "epochs: two",
        "`train.epochs` must be a number, not two, in {file}, line 12",
        "`epochs: 5`",
    ),
    ("epochs: 2", "epochs: true", "`train.epochs` must be a number, not true", "`epochs: 5`"),
    ("epochs: 2", "epochs: -1", "`train.epochs` must be more than 0, not -1", "`epochs: 5`"),
    ("epochs: 2", "epochs: .inf", "`train.epochs` must be a finite number", "`epochs: 5`"),
    ("epochs: 2", "epochs: 2, steps: 3", "both `epochs` and `steps` in {file}, line 12", "keep one"),
    ("epochs: 2", "evaluate_every: 1 epoch", "neither `epochs` nor `steps`", "keep one"),
    ("epochs: 2", "epochs: 2, evaluate_every: 3", "`train.evaluate_every`: 3 is no interval", '"200 steps"'),
    ("epochs: 2", "epochs: 2, evaluate_every: 1.5 steps", "'1.5 steps' is no interval", '"200 steps"'),
    (
        "epochs: 2",
        "epochs: 2, on_divergence: rollback",
        "must be 'stop', not rollback",
        "`on_divergence: stop`",
    ),
    ("target: y", "target: 3", "`data.target` must be text or mapping, not 3, in {file}, line 5", "`target: label`"),
    ("target: y", "target: {y: null, z: null}", "`data.target`: 2 columns (y, z) in {file}", "one column of lists"),
    ("target: y", "target: y\n  batch_size: 4", "`data.batch_size` is 4, `data.shards` is 8", "to 4 or less"),
    (
        "target: y",
        "target: y\n  micro_batch_size: 200",
        "`data.micro_batch_size` is 200, `data.batch_size` is 128",
        "`data.micro_batch_size` below 16",
    ),
    (
        "target: y",
        "target: y\n  micro_batch_size: 0",
        "`data.micro_batch_size` must be more than 0, not 0",
        "`micro_batch_size: 16`",
    ),
    (
        "target: y",
        "target: y\n  micro_batch_size: 2.5",
        "`data.micro_batch_size` must be a whole number, not 2.5",
        "`micro_batch_size: 16`",
    ),
    ("target: y", "target: y\n  shards: 2.5", "`data.shards` must be a whole number, not 2.5", "`shards: 8`"),
    (
        "target: y",
        "target: y\n  features: 3",
        "`data.features` must be text or list or mapping, not 3",
        "[x*]",
    ),
    (
        "target: y",
        "target: y\n  classes: [1]",
        "`data.classes` must be a list of at least 2",
        "classes: auto",
    ),
    (
        "{fraction: 0.1}",
        "{fraction: 1}",
        "`data.valid.fraction` must be less than 1, not 1",
        "`fraction: 0.1`",
    ),
    ("{fraction: 0.1}", "[3]", "`data.valid.0` must be text, not 3, in {file}, line 4", "{fraction: 0.1}"),
    ("train: x.parquet", "train: 3", "`data.train` must be text or list, not 3", "data/train.parquet"),
    (
        "  - dense: 8",
        "  - dense: 8\n    relu: 1",
        "`model.0`: a mapping with 2 keys (dense, relu)",
        "one `- name: ...`",
    ),
    (
        "  - relu",
        "  - 3",
        "`model.1` must be text or mapping, not 3, in {file}, line 8",
        "{dense: 128}, relu",
    ),
    ("model:\n  - dense: 8\n  - relu", "model: []", "`model` must be a list of at least 1", "[{dense: 128}"),
    ("model:\n  - dense: 8\n  - relu", "model: nets", "`model` cannot be nets", "my_nets:build"),
    ("loss: softmax_cross_entropy", "loss: null", "`loss` must be text or mapping, not null", "softmax"),
    (
        "adamw: {learning_rate: 1e-3}",
        "adamw: 1e-3",
        "the settings of `adamw` are 0.001",
        "adamw: {learning_rate",
    ),
    (
        "adamw:",
        "sgd: {}\n  adamw:",
        "2 optimizers are named: sgd, adamw in {file}, line 10",
        "adamw: {learning",
    ),
    ("adamw: {learning_rate: 1e-3}", "clip_norm: 1", "0 optimizers are named: none", "adamw: {learning_rate"),
    ("adamw:", "averag: 0.9\n  adamw:", "2 optimizers are named: averag, adamw", "did you mean `average`"),
    ("adamw:", "average: 1\n  adamw:", "`optimizer.average` must be less than 1, not 1", "`average: 0.999`"),
    ("adamw:", "rates: {'0.*': -1}\n  adamw:", "`optimizer.rates.0.*` must be at least 0, not -1", "rates: {"),
    (
        "adamw:",
        "clip_norm: 0\n  adamw:",
        "`optimizer.clip_norm` must be more than 0, not 0",
        "`clip_norm: 1.0`",
    ),
    ("workers: 2", "workers: 0", "`cluster.workers` must be more than 0, not 0", "`workers: auto`"),
    ("workers: 2", "workers: many", "`cluster.workers` must be 'auto', not many", "`workers: auto`"),
    ("workers: 2", "workers: {min: 3, max: 2}", "`min` is 3, `max` is 2", "exchange them"),
    ("workers: 2", "replicas: 1", "`cluster.replicas` is 1 in {file}, line 14", "`cluster.replicas: 0`"),
    (
        "workers: 2",
        "workers: 2\nfaults: [{kill: disk, step: 1}]",
        "`faults.0.kill` must be 'worker' or 'server'",
        "worker",
    ),
    (
        "workers: 2",
        "workers: 2\nfaults: [{kill: worker}]",
        "missing key `faults.0.step` in {file}, line 15",
        "`step: 40`",
    ),
    (
        "workers: 2",
        "workers: 2\nfaults: {kill: worker}",
        "`faults` must be a list",
        "[{kill: worker, index: 1",
    ),
    (
        "workers: 2",
        "workers: 2\ncheckpoint: {keep_best: accuracy}",
        "`checkpoint.keep_best` cannot be accuracy",
        "valid/",
    ),
    (
        "workers: 2",
        "workers: 2\ntracking: {tags: {a: 1}}",
        "`tracking.tags.a` must be text, not 1",
        "{team: vision}",
    ),
    (
        "workers: 2",
        "workers: 2\ntracking: off",
        "`tracking` must be a mapping, not off",
        "enabled, experiment, uri",
    ),
    ("workers: 2", "workers: 2\nseed: true", "`seed` must be a whole number, not true", "`seed: 7`"),
    ("workers: 2", "workers: 2\nseed: ${SEED}", "`seed` is '${SEED}' in {file}, line 15", "--set seed=..."),
    ("name: small", "name: ''", "`name` must be text that is not empty", "`name: mnist-mlp`"),
    (
        "name: small",
        "name: small\nseed: 1\nseed: 2",
        "key `seed` is given twice in {file}, line 3",
        "remove one",
    ),
    ("name: small", "name: [small", "{file}, line", "check indentation"),
    (
        "name: small",
        "name: !!python/object:os.system small",
        "{file}, line 1 is no valid YAML",
        "check indentation",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "what", "fix"), MISTAKES, ids=[wrong for _, wrong, _, _ in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_what_to_write(tmp_path, right, wrong, what, fix):
    path = tmp_path / "job.yaml"
    assert right in TEXT
    path.write_text(TEXT.replace(right, wrong, 1))
    with pytest.raises(ConfigError) as caught:
        load_job(path)
    assert what.replace("{file}", str(path)) in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.why


def test_a_metric_to_watch_needs_rows_to_measure_it_on():
    with pytest.raises(ConfigError, match=r"`checkpoint.keep_best` watches `valid/loss`") as caught:
        load_job(_job(), {"data.valid": None, "checkpoint.keep_best": "valid/loss"})
    assert "fraction: 0.1" in caught.value.fix


@pytest.mark.parametrize("content", ["", "3", "- a\n- b\n", "just text"])
def test_a_file_that_holds_no_mapping_is_no_job(tmp_path, content):
    path = tmp_path / "job.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match="holds no job"):
        load_job(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the config .*nowhere.yaml"):
        load_job(tmp_path / "nowhere.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read the config"):
        load_job(path)


def test_numbers_are_read_as_yaml_1_2_has_them(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(TEXT.replace("target: y", "target: no"))
    job = load_job(path)
    assert job.optimizer.settings == {"learning_rate": 0.001}
    assert job.data.target == "no"


def _job():
    return load_job(
        {
            "data": {"train": "x", "target": "y", "valid": "v"},
            "model": ["relu"],
            "loss": "mean_squared_error",
            "optimizer": {"sgd": {}},
            "train": {"steps": 1},
        }
    )
