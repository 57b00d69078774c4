"""The recipe: the part of a job that may change its numbers, its hash, and its flat form.

Not in it: paths (the data's own digest stands for the rows), cluster, tracking, checkpoints except for what
chooses the kept model, faults, the job's name, and `train.starts` where it is 1: so the first of several starts has the
recipe of the job that starts once.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any


def recipe_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a whole job, both as plain dicts."""
    # A job whose leaves are whole has the recipe that it had before there were micro-batches.
    left_out = ["train", "valid", "test", *(["micro_batch_size"] if job["data"]["micro_batch_size"] is None else [])]
    data = {key: value for key, value in job["data"].items() if key not in left_out}
    data["target"] = _target(data["target"])
    whole = {
        "seed": job["seed"],
        "data": {"valid": _held_out(job["data"]["valid"]), **data},
        **{key: job[key] for key in ("model", "loss", "metrics", "optimizer", "numerics")},
        "train": {key: value for key, value in job["train"].items() if (key, value) != ("starts", 1)},
        "keep_best": job["checkpoint"]["keep_best"],
    }
    return {key: _canonical(value) for key, value in whole.items()}


def _target(target: Any) -> Any:
    """A target that is left as it is has the recipe that it had before targets were standardized."""
    name, how = (target, None) if isinstance(target, str) else next(iter(target.items()))
    return target if how else name


def _held_out(valid: Any) -> Any:
    """How validation rows are found, without their paths."""
    return "files" if isinstance(valid, str | list | tuple) else valid


def _canonical(value: Any) -> Any:
    """`value` with one form for each number: 1.0 and 1 are the same recipe."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """SHA-256 over the recipe as JSON with sorted keys; 64 hexadecimal digits.

    The order of keys does not count, except where order has a meaning: there the config has lists.
    Features are concatenated in the order of their mapping, and their transforms follow each other in the order of
    theirs, so these mappings are hashed as lists of pairs.
    """
    ordered = {**recipe, "data": {**recipe["data"], "features": _pairs(recipe["data"]["features"])}}
    text = json.dumps(ordered, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _pairs(features: Any) -> Any:
    return [[key, _steps(how)] for key, how in features.items()] if isinstance(features, Mapping) else features


def _steps(how: Any) -> Any:
    if isinstance(how, list):
        return [_steps(step) for step in how]
    return [[kind, settings] for kind, settings in how.items()] if isinstance(how, Mapping) else how


def flatten(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The recipe as MLflow parameters: "optimizer.adamw.learning_rate" -> "0.001".

    Characters that MLflow refuses in names become underscores; lists of plain values stay together.
    """
    return {re.sub(r"[^\w\-. :/]", "_", key): text for key, text in _leaves("", recipe)}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list) and any(isinstance(part, Mapping | list) for part in value):
        parts = [(str(index), part) for index, part in enumerate(value)]
    if not parts:
        yield path, value if isinstance(value, str) else json.dumps(value)
    for key, part in parts:
        yield from _leaves(f"{path}.{key}" if path else key, part)
