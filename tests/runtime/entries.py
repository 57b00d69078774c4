"""Small jobs that together use every entry of the registries: what the law of bits is held to, inline and on Ray."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distprop.nn.loss import Task
from distprop.nn.losses import LOSSES
from distprop.nn.metrics import METRICS
from distprop.optim.optimizers import OPTIMIZERS
from tests.runtime.small import small_job, written

ROWS = 97  # no shard and no batch divides them evenly
IMAGES: list[Any] = [
    {"conv2d": {"channels": 4, "init": "he_uniform", "bias": False}},
    "batch_norm",
    "relu",
    {"max_pool2d": {"size": 2, "stride": 1}},
    {
        "residual": {
            "layers": [{"group_norm": 2}, {"conv2d": {"channels": 4, "groups": "depthwise", "init": {"uniform": 0.4}}}],
            "recompute": True,
        }
    },
    {"average_pool2d": 2},
    {"dropout": 0.2},
    {
        "parallel": {
            "branches": [["global_average_pool"], ["global_max_pool"], ["flatten", {"dense": 4}, "rms_norm"]],
            "join": "concat",
        }
    },
    {"dense": {"width": 3, "init": "zeros"}},
]
SEQUENCES: list[Any] = [
    {"embedding": {"rows": 9, "width": 4, "padding": 0, "init": {"normal": 0.3}, "sparse": True}},
    {"position": "sinusoidal"},
    "mask",
    {"residual": ["layer_norm", {"attention": 2}]},
    {
        "parallel": [
            [{"lstm": {"units": 2, "output": "sequence", "bidirectional": True}}],
            ["tanh", {"position": "learned"}],
        ]
    },
    {"gru": {"units": 3, "init": "orthogonal", "output": "sequence"}},
    {"conv1d": {"channels": 4, "kernel": 3, "init": "he_normal"}},
    {"max_pool1d": {"size": 2, "stride": 1}},
    {"average_pool1d": 2},
    "global_average_pool",
    {"dense": {"width": 1, "init": "glorot_uniform"}},
]
COLUMNS: list[Any] = [
    {"dense": {"width": 8, "init": "lecun_normal"}},
    {
        "repeat": {
            "times": 2,
            "layers": [{"dense": {"width": 8, "init": "lecun_uniform"}}, "silu", {"dropout": 0.1}],
            "recompute": True,
        }
    },
    {"sequence": ["gelu", {"leaky_relu": 0.2}, {"dense": {"width": 8, "init": {"orthogonal": 0.9}}}, "elu"]},
    {"reshape": [4, 2]},
    "flatten",
    "softmax",
    {"parallel": {"branches": [["sigmoid"], ["softplus", {"dense": {"width": 8, "init": {"constant": 0.1}}}]]}},
    {"dense": {"width": 2, "init": "glorot_normal"}},
]
WAVES: list[Any] = ["mask", {"gru": {"units": 3, "bidirectional": True}}, "batch_norm", {"dense": 3}]


def table() -> dict[str, Any]:
    """Rows with every kind of column; all of them weighted."""
    chance = np.random.default_rng(4)
    three = chance.integers(0, 3, ROWS)
    x = (chance.normal(size=(ROWS, 5)) + three[:, None]).astype(np.float32)
    waves = chance.normal(size=(ROWS, 8, 2)).astype(np.float32)
    waves[::3, 5:] = 0.0
    tokens = np.empty(ROWS, dtype=object)
    tokens[:] = [chance.integers(1, 9, 1 + row % 9) for row in range(ROWS)]
    return {
        "image": chance.normal(size=(ROWS, 6, 6, 2)).astype(np.float32) + three[:, None, None, None],
        "wave": waves,
        "tokens": tokens,
        "x": x,
        "size": np.exp(x[:, 0].astype(np.float64)),
        "gappy": np.where(np.arange(ROWS) % 7 == 0, np.nan, x[:, 1]),
        "color": np.array(["red", "green", "blue"])[(three + (np.arange(ROWS) % 5 == 0)) % 3],
        "three": three,
        "two": three % 2,
        "count": np.abs(3.0 * x[:, 0] + x[:, 1]).round(),
        "pair": x[:, :2] @ np.array([[1.0, -1.0], [0.5, 2.0]], np.float32),
        "weight": chance.uniform(0.3, 2.0, ROWS),
    }


def all_metrics(task: Task) -> list[Any]:
    """Every metric that fits a task."""
    return [metric.name for metric in METRICS.values() if task in metric.tasks]


def plain(outputs: int, *last: str) -> list[Any]:
    """A small network on vectors."""
    return [{"dense": 6}, "batch_norm", "tanh", {"dense": outputs}, *last]


BY_NAME: dict[str, dict[str, Any]] = {
    "images": {
        "data__features": {"image": "standardize"},
        "data__augment": [
            {"flip": "horizontal"},
            {"shift": 1},
            {"crop": {"height": 5, "width": 5}},
            {"amplitude": 0.2},
        ],
        "data__target": "three",
        "data__micro_batch_size": 2,
        "model": IMAGES,
        "loss": {"softmax_cross_entropy": {"label_smoothing": 0.1}},
        "optimizer": {"lars": {"learning_rate": {"one_cycle": 9.0}}, "clip_norm": 0.5, "average": 0.8},
    },
    "sequences": {
        "data__features": {"tokens": {"pad": 7}},
        "data__target": "two",
        "model": SEQUENCES,
        "loss": {"binary_cross_entropy": {"class_weights": "balanced"}},
        "optimizer": {
            "adamw": {"learning_rate": {"warmup_linear": {"peak": 0.02, "warmup_steps": 2}}},
            "clip_norm": 0.3,
        },
    },
    "columns": {
        "data__features": {
            "x": {"scale": 0.5},
            "size": [{"log": {"add": 1}}, "standardize"],
            "gappy": {"impute": {"value": "median", "indicator": True}},
            "color": {"one_hot": "auto"},
        },
        "data__target": "count",
        "model": COLUMNS,
        "loss": "gaussian",
        "optimizer": {"lamb": {"learning_rate": {"cosine": 0.05}}, "clip_value": 0.1, "decay_exclude": ["*.b"]},
    },
    "waves": {
        "data__features": {"wave": {"scale": 0.5}},
        "data__augment": [{"noise": 0.1}, {"crop": {"length": 6}}, {"shift": {"pixels": 1, "fill": "edge"}}],
        "data__target": "three",
        "model": WAVES,
        "loss": {"softmax_cross_entropy": {"class_weights": [1.0, 2.0, 0.5]}},
        "optimizer": {"rmsprop": {"momentum": 0.5, "learning_rate": {"step": {"value": 0.01, "every": 3}}}},
    },
    "colors": {
        "data__features": {"color": {"vocabulary": "auto"}},
        "data__target": "three",
        "model": [{"embedding": {"rows": 4, "width": 3}}, {"dense": 3}],
        "loss": "softmax_cross_entropy",
        "optimizer": {"adagrad": {"learning_rate": {"exponential": {"value": 0.1, "factor": 0.9}}}, "accumulate": 2},
    },
    "pairs": {
        "data__target": "pair",
        "model": plain(2),
        "loss": "mean_squared_error",
        "optimizer": {"sgd": {"momentum": 0.9, "learning_rate": {"polynomial": {"peak": 0.1, "power": 2}}}},
    },
    "absolute": {
        "data__features": {"x": "standardize", "color": {"hash": 4}},
        "data__target": "count",
        "model": plain(1),
        "loss": "mean_absolute_error",
        "optimizer": {"lion": {"learning_rate": {"linear": 0.01}}, "clip_norm": 1.0},
    },
    "huber": {
        "data__target": "count",
        "model": plain(1),
        "loss": {"huber": 0.3},
        "optimizer": {
            "adam": {"learning_rate": {"cosine_restarts": {"peak": 0.02, "period": 3}}},
            "rates": {"0.*": 0.5},
        },
    },
    "quantiles": {
        "data__target": "count",
        "model": plain(3),
        "loss": {"pinball": [0.1, 0.5, 0.9]},
        "optimizer": {"adam": {"learning_rate": {"warmup_constant": {"peak": 0.02, "warmup_steps": 3}}}},
    },
    "rates": {
        "data__target": "count",
        "model": plain(1, "softplus"),
        "loss": "poisson",
        "optimizer": {
            "rmsprop": {"learning_rate": {"reduce_on_plateau": {"start": 0.1, "patience": 1, "min_delta": 9}}}
        },
    },
    "flags": {
        "data__target": "two",
        "model": plain(1),
        "loss": {"binary_cross_entropy": {"label_smoothing": 0.1}},
        "optimizer": {"lion": {"learning_rate": {"constant": 0.003}}, "average": 0.5},
    },
    "warm": {
        "data__target": "pair",
        "model": plain(4),
        "loss": "gaussian",
        "optimizer": {
            "adagrad": {"learning_rate": {"warmup_cosine": {"peak": 0.1, "warmup_steps": 2}}, "weight_decay": 0.1}
        },
    },
}
WIDE = ("images", "sequences", "columns")
"""Jobs that have every layer, every metric and every initializer among them."""


def entry_job(name: str, rows: str, room: Path) -> dict[str, Any]:
    """The job of this name on `table()`: 8 steps in 2 epochs, measured every 3 and kept every 2."""
    changes = BY_NAME[name]
    (loss,) = [changes["loss"]] if isinstance(changes["loss"], str) else changes["loss"]
    given = {
        "data__features": {"x": "standardize"},
        "data__weight": "weight",
        "data__batch_size": 23,
        "metrics": all_metrics(LOSSES[loss].task),
        "train__evaluate_every": "3 steps",
        "checkpoint__every": "2 steps",
    }
    return small_job(rows, room / name, **{**given, **changes})


def write_table(folder: Path) -> str:
    """The rows as a Parquet file."""
    return written(folder, table(), "entries")


def kinds_of(layers: list[Any]) -> Iterator[tuple[str, Any]]:
    """(kind, settings) of all layers of a model as a config writes it, those within others included."""
    for spec in layers:
        kind, settings = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
        yield kind, settings
        if kind in ("sequence", "residual", "repeat"):
            yield from kinds_of(settings["layers"] if isinstance(settings, dict) else settings)
        if kind == "parallel":
            for branch in settings["branches"] if isinstance(settings, dict) else settings:
                yield from kinds_of(branch)


def _names(specs: Iterable[Any]) -> set[str]:
    """What is named: by itself, or as the one key of a mapping."""
    return {spec if isinstance(spec, str) else next(iter(spec)) for spec in specs}


def _steps_of(how: Any) -> list[Any]:
    return how if isinstance(how, list) else [how]


def used(jobs: Collection[Mapping[str, Any]]) -> dict[str, set[str]]:
    """By registry: the entries that jobs use."""
    layers = [layer for job in jobs for layer in kinds_of(job["model"])]
    settings = [given for _, given in layers if isinstance(given, dict)]
    chosen = [(name, job["optimizer"][name]) for job in jobs for name in job["optimizer"] if name in OPTIMIZERS]
    return {
        "layers": {kind for kind, _ in layers},
        "initializers": _names(given["init"] for given in settings if "init" in given),
        "losses": _names(job["loss"] for job in jobs),
        "metrics": {metric for job in jobs for metric in job["metrics"]},
        "optimizers": {name for name, _ in chosen},
        "schedules": _names(given["learning_rate"] for _, given in chosen),
        "augmentations": _names(one for job in jobs for one in job["data"].get("augment", ())),
        "transforms": _names(one for job in jobs for how in job["data"]["features"].values() for one in _steps_of(how)),
    }
