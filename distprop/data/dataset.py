"""Before training: open the files, choose the columns, survey every value, fit the preprocessing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distprop.data.augmenting import Augmentation, parse_augment
from distprop.data.choosing import FeaturePlan, missing_column, resolve_features
from distprop.data.classes import check_classes, check_count, resolve_classes
from distprop.data.columns import Column
from distprop.data.decoding import check_field, describe
from distprop.data.feature import Feature
from distprop.data.features import Features
from distprop.data.input_check import LARGEST, unknown_category
from distprop.data.part import Part
from distprop.data.prepared import Dataset, Split
from distprop.data.reader import Encoding
from distprop.data.shards import DataPlan, plan_data
from distprop.data.source import Source, open_source
from distprop.data.splitting import split_source
from distprop.data.survey import OWN, Request, ShardSurvey, SurveyMap
from distprop.data.survey_cache import remembered_survey
from distprop.data.target_units import TargetUnits, fit_units, read_target
from distprop.data.targets import Targets, Task
from distprop.errors import ConfigError, DataError

__all__ = ["Dataset", "Split", "prepare"]

SHUFFLE_ROWS = 16_384
SINGLE = "y.reshape(-1) instead of y of shape (N, 1)"
ONE_HOT = "y.argmax(axis=1) of one-hot rows; lists of amounts are learned with `loss: mean_squared_error`"
CODES = ("one_hot", "vocabulary", "hash", "pad")  # transforms whose values are no amounts


@dataclass(frozen=True)
class Wanted:
    """The `data` section of a job, with its defaults."""

    train: Any
    target: Any
    valid: Any = None
    test: Any = None
    features: Any = "all"
    augment: Sequence[Any] = ()
    weight: str | None = None
    classes: Any = "auto"
    shards: int = 1
    batch_size: int = 32
    shuffle_rows: int = SHUFFLE_ROWS


def prepare(
    data: Mapping[str, Any], seed: int, task: Task, outputs: int | None = None, survey_map: SurveyMap = map
) -> Dataset:
    """Open and survey the data of a job. Raises DataError for all that can be seen to be wrong with it.

    data: the job's `data` section as a plain dict: train, valid, test, features, augment, target, weight, shards,
    batch_size, shuffle_rows. task: what the loss answers. outputs: what the model gives a row, or None to go by the
    data. survey_map: as builtin `map`; may compute elsewhere (functions and arguments are picklable) but keeps the
    order.
    """
    wanted = Wanted(**{key: value for key, value in data.items() if value is not None})
    augmentation = parse_augment(wanted.augment)
    source = open_source(wanted.train)
    target, weight = _target(source, read_target(wanted.target)[0], task), _weight(source, wanted.weight)
    plan = resolve_features(wanted.features, [target.name, *([wanted.weight] if wanted.weight else [])], source.schema)
    others = (target, *((weight,) if weight else ()))
    source.need([*(f.column.name for f in plan.features), *(column.name for column in others)], "the job")
    request = Request(plan.features, others, _distinct(plan, target, task))
    parts = _parts(wanted, source, request, target, task, seed, survey_map)
    found = {
        name: remembered_survey(part, _request_for(name, request, target, task), wanted.shards, survey_map)
        for name, part in parts.items()
    }
    if weight is not None:
        _check_weights(parts, weight.name, found)
    targets = _targets(wanted, parts, target, task, outputs, found)
    features = Features(tuple(_fit(feature, found["train"]) for feature in plan.features), augmentation.crop)
    _check_categories(features, parts, found)
    _check_augmentation(augmentation, features)
    encoding = Encoding(features, targets, wanted.weight, augmentation)
    splits = {name: _split(name, part, wanted, found[name], targets) for name, part in parts.items()}
    return Dataset(
        splits,
        encoding,
        seed,
        wanted.shuffle_rows,
        _range(target, task, found["train"]),
        _digest_of(splits),
        plan.left_out,
    )


def _target(source: Source, name: str, task: Task) -> Column:
    if name not in source.schema.names:
        raise missing_column(f"data.target names {name!r}", name, source.schema)
    column = describe(source.schema.field(name))
    kind = source.schema.field(name).type
    if column is None or (task == "regression" and column.kind == "text"):
        raise DataError(
            f"target {name!r} has the type {kind}",
            f"a {task} target cannot be of this type",
            "name another target, or another loss",
        )
    if task != "regression" and column.kind == "list":
        raise DataError(
            f"target {name!r} has lists of {column.width} values",
            "classes are single values",
            f"give one value a row: {SINGLE if column.width == 1 else ONE_HOT}",
        )
    return column


def _weight(source: Source, name: str | None) -> Column | None:
    if name is None:
        return None
    if name not in source.schema.names:
        raise missing_column(f"data.weight names {name!r}", name, source.schema)
    column = describe(source.schema.field(name))
    if column is None or column.kind != "number":
        raise DataError(
            f"weight {name!r} has the type {source.schema.field(name).type}",
            "row weights are numbers",
            "name a column of numbers, 0 or more",
        )
    return column


def _check_weights(parts: Mapping[str, Part], name: str, found: Mapping[str, ShardSurvey]) -> None:
    for split, part in parts.items():
        seen = found[split].moments[name, OWN]
        lowest = float(seen.low[0])
        if float(seen.high[0]) == 0.0 == lowest:
            raise DataError(
                f"weight {name!r} of {part.source.name} is 0 in every row",
                "rows without weight teach and measure nothing",
                "use weights above 0 for the rows that count",
            )
        if lowest < 0.0:
            raise DataError(
                f"weight {name!r} of {part.source.name} is as low as {lowest}",
                "a row cannot count less than nothing",
                "use weights of 0 or more",
            )


def _distinct(plan: FeaturePlan, target: Column, task: Task) -> tuple[str, ...]:
    learning = [f.column.name for f in plan.features if f.closed or any(t.need == "categories" for t in f.transforms)]
    return (*learning, *([] if task == "regression" else [target.name]))


def _request_for(split: str, request: Request, target: Column, task: Task) -> Request:
    """What is learned is learned from the training rows; the others are only looked through."""
    if split == "train":
        return request
    closed = tuple(feature.column.name for feature in request.features if feature.closed)
    return replace(request, distinct=(*closed, *([] if task == "regression" else [target.name])), learn=False)


def _check_categories(features: Features, parts: Mapping[str, Part], found: Mapping[str, ShardSurvey]) -> None:
    """Raise DataError for a value of a one_hot column that is none of its categories."""
    for feature in (feature for feature in features.features if feature.closed):
        name, known = feature.column.name, set(feature.transforms[-1].settings["values"])
        for split, part in parts.items():
            places = {v: at for v, (_, at) in found[split].distinct[name].values.items() if v not in known}
            if places:
                value = min(places, key=lambda one: places[one])
                raise unknown_category(name, value, f"{part.source.describe_row(places[value])} (data.{split})")


def _parts(
    wanted: Wanted,
    source: Source,
    request: Request,
    target: Column,
    task: Task,
    seed: int,
    survey_map: SurveyMap,
) -> dict[str, Part]:
    columns = request.columns
    parts = {"train": Part(source, columns)}
    if isinstance(wanted.valid, Mapping):
        stratify = wanted.valid.get("stratify", False)
        _refuse_stratified_values(stratify, task, target)
        left, held = split_source(
            source, target if stratify else None, float(wanted.valid["fraction"]), seed, survey_map
        )
        parts = {"train": Part(source, columns, left), "valid": Part(source, columns, held)}
    elif wanted.valid is not None:
        parts["valid"] = _other_part("valid", wanted.valid, source, columns)
    if wanted.test is not None:
        parts["test"] = _other_part("test", wanted.test, source, columns)
    return parts


def _refuse_stratified_values(stratify: bool, task: Task, target: Column) -> None:
    if stratify and task == "regression":
        raise DataError(
            "data.valid.stratify is true",
            f"the target {target.name!r} has values, not classes",
            "set it to false",
        )


def _other_part(split: str, paths: Any, train: Source, columns: tuple[Column, ...]) -> Part:
    source = open_source(paths)
    for column in columns:
        if column.name not in source.schema.names:
            raise missing_column(f"data.{split} ({source.name}) needs {column.name!r}", column.name, source.schema)
        check_field(column, source.schema.field(column.name), f"data.{split} ({source.name})")
    source.need([column.name for column in columns], f"data.{split}")
    return Part(source.like(train), columns)


def _fit(feature: Feature, found: ShardSurvey) -> Feature:
    name = feature.column.name
    learned: dict[int, Any] = {}
    for i, transform in enumerate(feature.transforms):
        if transform.need == "moments":
            learned[i] = found.moments[name, i]
        elif transform.need == "median":
            learned[i] = found.medians[name, i]
        elif transform.need == "categories":
            learned[i] = tuple(sorted({*found.distinct[name].values, *_filled(feature)}))
    return feature.fit(learned)


def _filled(feature: Feature) -> list[Any]:
    """What missing values become, which is a category too."""
    return [t.settings["value"] for t in feature.transforms if t.kind == "impute"]


def _check_augmentation(augmentation: Augmentation, features: Features) -> None:
    """Raise ConfigError where a step does not fit the rows, or would change codes as if they were amounts."""
    augmentation.check(features.whole_shape)
    coded = [f.column.name for f in features.features if any(t.kind in CODES for t in f.transforms)]
    if augmentation.steps and coded:
        raise ConfigError(
            f"data.augment asks for {augmentation.steps[0].kind}, and column {coded[0]!r} has codes or padding",
            "a code that is moved or made a little larger stands for something else",
            "leave data.augment out, or take the column out of data.features",
        )


def _targets(
    wanted: Wanted,
    parts: Mapping[str, Part],
    target: Column,
    task: Task,
    outputs: int | None,
    found: Mapping[str, ShardSurvey],
) -> Targets:
    if task == "regression":
        return Targets(target, task, units=_units(wanted, target, found))
    apart = 2 if task == "binary" else outputs
    seen = found["train"].distinct[target.name]
    auto = wanted.classes == "auto"
    given = resolve_classes(parts["train"].source, target, apart, seen) if auto else tuple(wanted.classes)
    classes = check_count(target, apart, given)
    for name in parts:
        check_classes(parts[name].source, name, target, classes, found[name].distinct[target.name])
    return Targets(target, task, classes)


def _units(wanted: Wanted, target: Column, found: Mapping[str, ShardSurvey]) -> TargetUnits | None:
    """How the target is standardized. Raises DataError where a split has values too far from those of training."""
    how = read_target(wanted.target)[1]
    if how is None:
        return None
    units = fit_units(target.name, how, found["train"].moments[target.name, OWN])
    mean, std = units.arrays
    for split, survey in found.items():
        seen = survey.moments[target.name, OWN]
        for value in (seen.low, seen.high):
            if survey.rows and (np.abs(value - mean) / std > LARGEST).any():
                raise DataError(
                    f"the target {target.name!r} is {value.tolist()} in a row of data.{split}",
                    f"that is more than float32 holds once its mean {mean.tolist()} is taken off and it is divided by "
                    f"its standard deviation {std.tolist()} in the training rows",
                    "correct or remove the row",
                )
    return units


def _split(name: str, part: Part, wanted: Wanted, found: ShardSurvey, targets: Targets) -> Split:
    train = name == "train"
    plan = (plan_data if train else DataPlan)(part.rows, wanted.shards, wanted.batch_size)
    counts = found.distinct[targets.column.name].values if targets.classes else {}
    labels = tuple(counts.get(label, (0, 0))[0] for label in targets.classes or ())
    return Split(name, part, plan, found.receipt, _digest(part, found), part.source.name, labels)


def _digest(part: Part, found: ShardSurvey) -> str:
    columns = [[c.name, c.kind, c.dtype, list(c.shape)] for c in part.columns]
    text = json.dumps([columns, found.rows, found.receipt])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest_of(splits: Mapping[str, Split]) -> str:
    text = json.dumps([[name, splits[name].digest] for name in ("train", "valid") if name in splits])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _range(target: Column, task: Task, found: ShardSurvey) -> tuple[float, float] | None:
    if task != "regression":
        return None
    moments = found.moments[target.name, OWN]
    return float(moments.low.min()), float(moments.high.max())
