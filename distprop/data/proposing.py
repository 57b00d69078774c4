"""A job that fits some data: which loss, how wide, how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distprop.data.columns import Column

CLASSES = 20  # more different whole numbers than this are amounts, unless metadata name classes
STEPS = 3_000  # about as many as a small network needs
SIBLINGS = {"valid": ("valid", "val", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class Seen:
    """What is known about the target and the data."""

    target: Column
    distinct: int
    low: float
    high: float
    named: bool
    rows: int
    wide: bool  # lists among the features

    @property
    def classes(self) -> int:
        """How many classes the target has; 0 where it has values."""
        if self.target.kind == "list":
            return 0
        whole = self.target.dtype.startswith(("int", "uint"))
        if self.target.kind != "text" and not self.named and not (whole and self.distinct <= CLASSES):
            return 0
        counted = self.target.kind != "text" and self.low == 0 and self.high < 2 * self.distinct
        return int(self.high) + 1 if counted else self.distinct


def propose(path: str, seen: Seen, features: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Propose (the job as a plain dict, comments by dotted key)."""
    batch = _batch_size(seen.rows)
    epochs = max(5, min(60, round(STEPS * batch / seen.rows)))
    shards = max(1, min(4, seen.rows // 40))
    job = {
        "name": _name(path),
        "seed": 7,
        "data": {
            "train": path,
            **_held_out(path, seen),
            "features": dict(features),
            "target": seen.target.name,
            "shards": shards,
            "batch_size": batch,
        },
        **_model(seen),
        "optimizer": _optimizer(seen),
        "train": {"epochs": epochs, "evaluate_every": "1 epoch"},
    }
    return job, _comments(seen)


def _comments(seen: Seen) -> dict[str, str]:
    classes = seen.classes
    what = f"{classes} classes" if classes else f"values from {seen.low:g} to {seen.high:g}"
    return {
        "data.target": what,
        "data.shards": "most workers that can ever help; part of what fixes the numbers",
        "data.batch_size": "rows a step over all shards",
    }


def _name(path: str) -> str:
    parts = [part for part in path.replace("://", "/").split("/") if part and "*" not in part]
    stem = parts[-1].rpartition(".")[0] or parts[-1]
    return parts[-2] if stem in ("train", "data") and len(parts) > 1 else stem


def _batch_size(rows: int) -> int:
    return 32 if rows < 1_000 else 64 if rows < 5_000 else 128 if rows < 50_000 else 256


def _held_out(path: str, seen: Seen) -> dict[str, Any]:
    """Files beside train.parquet count as what they are called; else a part of the rows is held out."""
    held: dict[str, Any] = {}
    for split, names in SIBLINGS.items():
        beside = [path[: -len("train.parquet")] + f"{name}.parquet" for name in names]
        found = [one for one in beside if path.endswith("train.parquet") and Path(one).expanduser().exists()]
        if found:
            held[split] = found[0]
    fraction = {"fraction": 0.2 if seen.rows < 5_000 else 0.1}
    return {"valid": fraction | ({"stratify": True} if seen.classes else {})} | held


def _model(seen: Seen) -> dict[str, Any]:
    classes = seen.classes
    outputs = (1 if classes == 2 else classes) or seen.target.width
    model: list[Any] = [{"dense": 128 if seen.wide else 64}, "relu", {"dense": outputs}]
    if not classes:
        return {"model": model, "loss": "mean_squared_error", "metrics": ["rmse", "r2"]}
    loss = "binary_cross_entropy" if classes == 2 else "softmax_cross_entropy"
    return {"model": model, "loss": loss, "metrics": ["accuracy"]}


def _optimizer(seen: Seen) -> dict[str, Any]:
    peak = 1e-3 if seen.wide else 3e-3
    return {"adamw": {"learning_rate": {"cosine": {"peak": peak}}, "weight_decay": 0.01}}
