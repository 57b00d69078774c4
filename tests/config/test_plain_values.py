"""A job as a person's own Python has it: numbers of NumPy, paths, functions; and what another YAML reader made."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop.config import load_job
from distprop.config.reading import read_text
from distprop.errors import ConfigError

YAML = """
data: {target: label, train: rows.parquet, features: {a: {scale: 1e-3}, "1e5": standardize}, augment: [{noise: 1e-2}]}
model: [{dropout: 1e-1}, {dense: {width: 3, init: {normal: 2e-2}}}]
loss: {huber: {delta: 1e1}}
optimizer: {adamw: {learning_rate: {cosine: {peak: 3e-3, warmup_steps: 2}}, weight_decay: 1E-4}, clip_norm: 1e0}
train: {epochs: 2.5e0, early_stopping: {metric: valid/loss, patience: 2, min_delta: 1e-4}}
tracking: {tags: {team: text}}
"""


def as_others_read(value: Any) -> Any:
    """What a reader of YAML 1.1 gives: numbers with an exponent and no dot are text."""
    written = {1e-3: "1e-3", 1e-2: "1e-2", 1e-1: "1e-1", 2e-2: "2e-2", 1e1: "1e1", 3e-3: "3e-3", 1e-4: "1E-4",
               1e0: "1e0", 2.5: "2.5e0"}  # fmt: skip
    if isinstance(value, dict):
        return {key: as_others_read(part) for key, part in value.items()}
    if isinstance(value, list):
        return [as_others_read(part) for part in value]
    return written.get(value, value) if isinstance(value, float) else value


def small(**changes: Any) -> dict[str, Any]:
    return {
        "data": {"target": "label", "train": "rows.parquet"}, "model": [{"dense": 3}], "loss": "softmax_cross_entropy",
        "optimizer": {"adam": {"learning_rate": 0.01}}, "train": {"epochs": 1},
    } | changes  # fmt: skip


def test_numbers_that_another_reader_left_as_text_are_the_numbers_that_we_read() -> None:
    ours = read_text(YAML, "a text").data
    ours["data"]["valid"] = {"fraction": 0.1}
    theirs = as_others_read(ours)
    assert theirs["optimizer"]["clip_norm"] == "1e0", "a text: else this shows nothing"
    assert load_job(theirs).recipe() == load_job(ours).recipe()


def test_texts_that_look_like_numbers_stay_texts_where_text_is_meant() -> None:
    job = load_job(small(name="1e5", data={"target": "2e3", "train": "1e4"}, tracking={"tags": {"run": "1e-3"}}))
    assert (job.name, job.data.target, job.data.train, job.tracking.tags) == ("1e5", "2e3", "1e4", {"run": "1e-3"})
    kept = {"target": "y", "train": "a", "features": {"code": {"one_hot": ["1e5", "2e5"]}, "d": {"impute": "1e5"}}}
    assert load_job(small(data=kept)).data.features == kept["features"]


def test_texts_that_are_no_numbers_stay_errors_in_a_mapping_and_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`optimizer\.clip_norm` must be a number"):
        load_job(small(optimizer={"sgd": {"learning_rate": 0.1}, "clip_norm": "much"}))
    path = tmp_path / "job.yaml"
    path.write_text(YAML.replace("clip_norm: 1e0", "clip_norm: '1e0'"))
    with pytest.raises(ConfigError, match=r"`optimizer\.clip_norm` must be a number"):
        load_job(path)


def test_numbers_of_numpy_are_the_numbers_that_they_are() -> None:
    given = small(
        seed=np.int64(3),
        train={"epochs": np.float32(0.1), "starts": np.uint8(2)},
        loss={"softmax_cross_entropy": {"class_weights": np.array([1.0, 2.0, 0.5])}},
        model=[{"dense": np.array(3)}, {"dropout": np.float16(0.5)}],
        optimizer={"adam": {"learning_rate": np.float64(0.01)}},
        tracking={"enabled": np.bool_(False)},
    )
    wanted = small(
        seed=3,
        train={"epochs": float(np.float32(0.1)), "starts": 2},
        loss={"softmax_cross_entropy": {"class_weights": [1.0, 2.0, 0.5]}},
        model=[{"dense": 3}, {"dropout": 0.5}],
        tracking={"enabled": False},
    )
    assert load_job(given) == load_job(wanted)
    assert load_job(wanted, {"train.epochs": np.int64(4), "seed": np.uint64(2**64 - 1)}).plain()["seed"] == 2**64 - 1


def test_paths_and_mappings_of_any_kind_are_taken() -> None:
    given = OrderedDict(small(data={"target": "y", "train": [Path("a"), Path("b.parquet")]}))
    job = load_job(given, {"checkpoint.dir": Path("kept")})
    assert (job.data.train, job.checkpoint.dir) == (("a", "b.parquet"), "kept")


def test_what_has_no_plain_form_is_refused_by_name() -> None:
    for odd in (np.array([1.0, np.nan]), np.datetime64("2026-01-01"), {1, 2}):
        with pytest.raises(ConfigError, match="class_weights"):
            load_job(small(loss={"softmax_cross_entropy": {"class_weights": odd}}))


def test_a_function_is_named_by_its_module_and_one_that_nobody_finds_is_refused() -> None:
    assert load_job(small(model=a_net)).model == f"{__name__}:a_net"
    for lost in (lambda *_: [], _of("__main__")):
        with pytest.raises(ConfigError, match=r"put it at the top of a module.*my_nets"):
            load_job(small(model=lost))


def a_net(*_: Any) -> list[Any]:
    return [{"dense": 3}]


def _of(module: str) -> Any:
    def net(*_: Any) -> list[Any]:
        return []

    net.__module__, net.__qualname__ = module, "net"
    return net


@pytest.mark.parametrize("job", [3, None, [1], b"job.yaml"])
def test_what_is_no_job_is_refused_with_what_one_is(job: Any) -> None:
    with pytest.raises(ConfigError, match="is no job"):
        load_job(job)
