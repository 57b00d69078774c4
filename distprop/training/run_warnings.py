"""What a person should know of a job before it trains, and of the model that it keeps: each is said once."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from distprop.data.dataset import Dataset
from distprop.runtime.blueprint import Blueprint
from distprop.training.assembling import Assembly

STEPS_LOOKED_AT = 200
"""Of a schedule, spread evenly: so many show whether it ever leaves 0."""
HUGE = 100.0
"""A loss of classes in nats, or of standardized values; that of a model that learned nothing is about 1."""
OUTLYING, FEWEST_ROWS = 0.5, 20
"""A row is told of that makes more than this share of the target's variance, among so many rows or more."""
MOST_NAMED = 5


class RunWarning(NamedTuple):
    """What is odd, and what to do. kind: the word that a run's tags and files call it by."""

    kind: str
    what: str
    fix: str


def warnings_before(assembly: Assembly) -> Iterator[RunWarning]:
    """What of the data and of the recipe lets a training learn little or nothing."""
    yield from _class_warnings(assembly)
    yield from _outlier_warnings(assembly.dataset)
    if _never_moves(assembly.blueprint):
        fix = "set it in `optimizer`, where that was not meant; `distprop find-rate` proposes one"
        yield RunWarning("rate", "the learning rate is 0 in every step: the model stays as it begins", fix)


def _class_warnings(assembly: Assembly) -> Iterator[RunWarning]:
    classes, splits = assembly.dataset.targets.classes or (), assembly.dataset.splits
    seen = splits["train"].labels
    there = [label for label, rows in zip(classes, seen, strict=False) if rows]
    if len(there) == 1:
        what = f"all training rows are of the class {there[0]!r}: the model can only learn to answer it"
        yield RunWarning("classes", what, "look whether the data was filtered, or give it rows of other classes")
    for name, split in splits.items():
        new = [label for label, old, rows in zip(classes, seen, split.labels, strict=False) if rows and not old]
        if new:
            some = ", ".join(map(repr, new[:MOST_NAMED])) + (", ..." if len(new) > MOST_NAMED else "")
            what = f"data.{name} has rows of {some}, and no training row is: they cannot be told"
            yield RunWarning("classes", what, f"put such rows into data.train, or take them out of data.{name}")


def _outlier_warnings(dataset: Dataset) -> Iterator[RunWarning]:
    """One value beside which all others look alike: its square is most of the sum of squares of what is learned."""
    units, span, rows = dataset.targets.units, dataset.target_range, dataset.train_plan.rows
    if units is None or span is None or len(units.mean) > 1 or rows < FEWEST_ROWS:
        return
    farthest = max(span, key=lambda value: abs(value - units.mean[0]))
    share = ((farthest - units.mean[0]) / units.std[0]) ** 2 / rows
    if share > OUTLYING:
        what = f"one row makes {min(share, 1.0):.0%} of the target's variance: its target is {farthest:.6g}"
        yield RunWarning("outlier", what, "correct or remove the row, or write the target's logarithm into the file")


def _never_moves(blueprint: Blueprint) -> bool:
    last = blueprint.last
    return not any(blueprint.optimizer.rate(step) for step in range(0, last, max(1, last // STEPS_LOOKED_AT)))


def warnings_after(blueprint: Blueprint, metrics: Mapping[str, float]) -> Iterator[RunWarning]:
    """What the metrics of the kept model say against it."""
    explained = metrics.get("valid/r2", math.nan)
    if explained < 0.0:
        what = f"the kept model is worse than the mean of the target: valid/r2 is {explained:.3g}"
        fix = "train longer or with another learning rate; if that does not help, the features do not tell the target"
        yield RunWarning("worse_than_mean", what, fix)
    name = "valid/loss" if "valid/loss" in metrics else "train/loss"
    loss = metrics.get(name, math.nan)
    comparable = blueprint.loss.task != "regression" or blueprint.dataset.targets.units is not None
    if comparable and loss > HUGE:
        what = f"{name} is {loss:.3g}: the training diverged, or some rows are far from all others"
        yield RunWarning(
            "huge_loss", what, "lower the learning rate, set `optimizer.clip_norm: 1.0`, look at such rows"
        )
