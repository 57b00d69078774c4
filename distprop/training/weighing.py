"""Class weights as a job gives them: in the order of the classes, by label, or `balanced`, from counts of labels."""

from collections.abc import Mapping
from typing import Any

from distprop.config import named
from distprop.data.dataset import Dataset
from distprop.errors import ConfigError
from distprop.suggest import suggest_name

KEY = "class_weights"
BALANCED = "balanced"


def without_classes(spec: Any) -> Any:
    """The loss without class weights that only the data can make numbers of: for what is asked before it is read."""
    name, settings = named(spec)
    if not isinstance(settings, Mapping) or not isinstance(settings.get(KEY), str | Mapping):
        return spec
    return {name: {key: value for key, value in settings.items() if key != KEY}}


def with_numbers(spec: Any, dataset: Dataset) -> Any:
    """The loss with its class weights as a list in the order of the dataset's classes. Raises ConfigError."""
    name, settings = named(spec)
    given = settings.get(KEY) if isinstance(settings, Mapping) else None
    if given is None:
        return spec
    classes = dataset.targets.classes or ()
    if isinstance(given, Mapping):
        given = _by_label(f"loss.{name}.{KEY}", given, classes)
    elif isinstance(given, str):
        given = _balanced(f"loss.{name}.{KEY}", given, dataset)
    elif isinstance(given, list | tuple) and len(given) != len(classes):
        raise ConfigError(
            f"`loss.{name}.{KEY}` has {len(given)} weights",
            f"there are {len(classes)} classes: {_listed(classes)}",
            "give one weight for each, in this order",
        )
    return {name: {**settings, KEY: given}}


def _by_label(key: str, given: Mapping[Any, Any], classes: tuple[Any, ...]) -> list[Any]:
    """Labels that are not named weigh 1. A label may be written as text: the keys of JSON and of `--set` are."""
    own = {str(label): label for label in classes}
    for label in given:
        if str(label) not in own:
            raise ConfigError(
                f"`{key}` names the class {label!r}",
                f"the classes are {_listed(classes)}",
                suggest_name(str(label), list(own)),
            )
    weights = {own[str(label)]: weight for label, weight in given.items()}
    return [weights.get(label, 1.0) for label in classes]


def _balanced(key: str, given: str, dataset: Dataset) -> list[float]:
    """N / (K n) for a class of which n of the N training rows are, as scikit-learn's `balanced`."""
    if given != BALANCED:
        raise ConfigError(
            f"`{key}` is {given!r}", "it is a list, a mapping from labels, or `balanced`", f"write {KEY}: {BALANCED}"
        )
    counts = dict(zip(dataset.targets.classes or (), dataset.splits["train"].labels, strict=True))
    for label, count in counts.items():
        if not count:
            raise ConfigError(
                f"`{key}` is `{BALANCED}`, and no training row is of the class {label!r}",
                "its weight would be infinite",
                "give the weights as a mapping from labels, or leave this class out of `data.classes`",
            )
    rows = sum(counts.values())
    return [rows / (len(counts) * count) for count in counts.values()]


def _listed(classes: tuple[Any, ...]) -> str:
    return ", ".join(map(repr, classes[:12])) + (", ..." if len(classes) > 12 else "")
