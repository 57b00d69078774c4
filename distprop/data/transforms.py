"""Preprocessing of one column: what the recipe asks for, what was learned, what it does to a batch.

A transform works on values (N, width): float64 for single numbers, float32 for lists, raw values before the
first one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.data.categories import Categories, Value
from distprop.data.columns import MISSING_TEXT, Column, text_digest
from distprop.data.moments import Moments
from distprop.data.receipt import mix
from distprop.errors import DataError

CONSTANT = 1e-12  # a spread below this share of the mean is rounding
UNKNOWN = ("error", "ignore", "own")
Settings = Mapping[str, Any]
Learned = Moments | tuple[Value, ...] | float | None
Step = Callable[[NDArray[Any]], NDArray[Any]]
Need = Literal["moments", "categories", "median"]


def _same_width(_: Settings) -> None:
    return None


class Kind(NamedTuple):
    """One kind of transform.

    parse: what stands in the recipe -> settings.  need: what it learns from the data, given its settings.
    fit: settings and what was learned -> complete settings (plain JSON).  apply: values (N, width) -> (N,
    width').
    """

    parse: Callable[[Any], dict[str, Any]]
    need: Callable[[Settings], Need | None]
    fit: Callable[[Settings, Learned], dict[str, Any]]
    build: Callable[[Column, Settings], Step]
    on: tuple[str, ...]
    last: bool = False  # nothing may come after it
    width: Callable[[Settings], int | None] = _same_width  # values a row that it makes; None: as many as there were


@dataclass(frozen=True)
class Transform:
    """A kind by name, with its settings."""

    kind: str
    settings: Settings

    @property
    def need(self) -> Need | None:
        """What it learns from the data."""
        return TRANSFORMS[self.kind].need(self.settings)

    def fit(self, learned: Learned) -> "Transform":
        """The same, complete."""
        return Transform(self.kind, TRANSFORMS[self.kind].fit(self.settings, learned))

    def build(self, column: Column) -> Step:
        """What it does to values (N, width) of a column; complete transforms only."""
        return TRANSFORMS[self.kind].build(column, self.settings)

    def to_json(self) -> dict[str, Any]:
        """{kind: settings}."""
        return {self.kind: dict(self.settings)}


def parse_transforms(name: str, spec: Any) -> tuple[Transform, ...]:
    """Read what the recipe says of a column: nothing, "standardize", {"scale": 0.1}, or a list of these."""
    if spec is None or spec == {}:
        return ()
    steps = spec if isinstance(spec, list | tuple) else [spec]
    return tuple(one for step in steps for one in _parse_step(name, step))


def _parse_step(name: str, step: Any) -> list[Transform]:
    pairs = {step: None} if isinstance(step, str) else step
    if not isinstance(pairs, Mapping):
        raise DataError(
            f"data.features.{name} has {step!r}",
            f"transforms are {', '.join(TRANSFORMS)}",
            f"write for example `{name}: standardize`",
        )
    return [_parse_one(name, str(kind), settings) for kind, settings in pairs.items()]


def _parse_one(name: str, kind: str, settings: Any) -> Transform:
    if kind not in TRANSFORMS:
        raise DataError(
            f"data.features.{name} asks for {kind!r}, which is no transform",
            f"transforms are {', '.join(TRANSFORMS)}",
            "use one of them",
        )
    try:
        return Transform(kind, TRANSFORMS[kind].parse(settings))
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"data.features.{name}.{kind} is {settings!r}", str(error), f"write it as `{EXAMPLES[kind]}`"
        ) from error


def working(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    """Values as the floats that transforms work on; a copy, which they may write to."""
    return values.astype(np.float32 if column.kind == "list" else np.float64)


def _keep(settings: Settings, _: Learned) -> dict[str, Any]:
    return dict(settings)


def _needs_nothing(_: Settings) -> None:
    return None


def _parse_scale(spec: Any) -> dict[str, Any]:
    return {"factor": float(spec["factor"] if isinstance(spec, Mapping) else spec)}


def _scale(column: Column, settings: Settings) -> Step:
    def step(values: NDArray[Any]) -> NDArray[Any]:
        out = working(column, values)
        out *= settings["factor"]
        return out

    return step


def _parse_log(spec: Any) -> dict[str, Any]:
    settings = dict(spec) if isinstance(spec, Mapping) else {"add": spec or 0.0}
    add, absolute = float(settings.pop("add", 0.0)), bool(settings.pop("absolute", False))
    return {"add": add, "absolute": absolute} | _none(settings)


def _log(column: Column, settings: Settings) -> Step:
    """Make a step ln(x + add), or ln(|x| + add)."""

    def step(values: NDArray[Any]) -> NDArray[Any]:
        out = working(column, values)
        if settings["absolute"]:
            np.abs(out, out=out)
        out += settings["add"]
        with np.errstate(divide="ignore", invalid="ignore"):  # the survey names the row
            np.log(out, out=out)
        return out

    return step


def _none(settings: dict[str, Any]) -> dict[str, Any]:
    if settings:
        raise ValueError(f"it has no setting {', '.join(settings)}")
    return {}


def _parse_standardize(spec: Any) -> dict[str, Any]:
    settings = dict(spec or {})
    known = {name: settings.pop(name) for name in ("mean", "std") if name in settings}
    if len(known) == 1:
        raise ValueError("mean and std go together")
    return known | _none(settings)


def _needs_moments(settings: Settings) -> Need | None:
    return None if "mean" in settings else "moments"


def _fit_standardize(settings: Settings, learned: Learned) -> dict[str, Any]:
    if not isinstance(learned, Moments):
        return dict(settings)
    constant = learned.std <= CONSTANT * np.abs(learned.mean)
    return {"mean": learned.mean.tolist(), "std": np.where(constant, 1.0, learned.std).tolist()}


def _standardize(column: Column, settings: Settings) -> Step:
    mean, std = (_numbers(column, settings[name]) for name in ("mean", "std"))

    def step(values: NDArray[Any]) -> NDArray[Any]:
        out = working(column, values)
        out -= mean
        out /= std
        return out

    return step


def _numbers(column: Column, values: Any) -> NDArray[Any]:
    return working(column, np.asarray(values, dtype=np.float64))


def _parse_impute(spec: Any) -> dict[str, Any]:
    settings = dict(spec) if isinstance(spec, Mapping) else {"value": "mean" if spec is None else spec}
    value, indicator = settings.pop("value", "mean"), bool(settings.pop("indicator", True))
    return {"value": value, "indicator": indicator} | _none(settings)


def _needs_middle(settings: Settings) -> Need | None:
    needs: dict[Any, Need] = {"mean": "moments", "median": "median"}
    return needs.get(settings["value"])


def _fit_impute(settings: Settings, learned: Learned) -> dict[str, Any]:
    if isinstance(learned, Moments):
        return dict(settings) | {"value": learned.mean.tolist()}
    return dict(settings) | ({"value": learned} if isinstance(learned, float) else {})


def _impute(column: Column, settings: Settings) -> Step:
    if column.kind == "text":
        word = np.uint64(text_digest(str(settings["value"])))
        return lambda values: np.where(values == MISSING_TEXT, word, values)
    fill = _numbers(column, settings["value"])
    return lambda values: np.where(np.isnan(values), fill.astype(values.dtype), values)


def _parse_categories(spec: Any) -> dict[str, Any]:
    if spec is None or spec == "auto":
        return {}
    values = spec["values"] if isinstance(spec, Mapping) else spec
    if not isinstance(values, list | tuple) or not values:
        raise ValueError("it takes `auto` or a list of values")
    return {"values": list(values)}


def _parse_one_hot(spec: Any) -> dict[str, Any]:
    settings = dict(spec) if isinstance(spec, Mapping) else {"values": spec}
    unknown = settings.pop("unknown", "error")
    if unknown not in UNKNOWN:
        raise ValueError(f"unknown is {', '.join(UNKNOWN)}: what becomes of a value that training did not have")
    values = _parse_categories(settings.pop("values", None))
    return values | ({} if unknown == "error" else {"unknown": unknown}) | _none(settings)


def _needs_categories(settings: Settings) -> Need | None:
    return None if "values" in settings else "categories"


def _fit_categories(settings: Settings, learned: Learned) -> dict[str, Any]:
    return {**settings, "values": list(learned)} if isinstance(learned, tuple) else dict(settings)


def _one_hot(column: Column, settings: Settings) -> Step:
    """Make a step to one 1 in a row of zeros.

    A value that is not known: NaN, which is refused where it is seen; all zeros; or a 1 in a column of its own.
    """
    known, unknown = Categories(column, tuple(settings["values"])), settings.get("unknown", "error")

    def step(values: NDArray[Any]) -> NDArray[Any]:
        index = known.index(values[:, 0])
        out = np.zeros((len(values), _one_hot_width(settings)), dtype=np.float32)
        rows = np.flatnonzero(index >= 0)
        out[rows, index[rows]] = 1.0
        if unknown == "own":
            out[index < 0, -1] = 1.0
        elif unknown == "error":
            out[index < 0] = np.nan
        return out

    return step


def _one_hot_width(settings: Settings) -> int:
    return len(settings["values"]) + (settings.get("unknown") == "own")


def _parse_hash(spec: Any) -> dict[str, Any]:
    settings = dict(spec) if isinstance(spec, Mapping) else {"buckets": spec}
    buckets = settings.pop("buckets", None)
    if isinstance(buckets, bool) or not isinstance(buckets, int) or buckets < 2:
        raise ValueError("it takes how many columns values are spread over, 2 or more")
    return {"buckets": buckets} | _none(settings)


def _hash(column: Column, settings: Settings) -> Step:
    """Make a step to one 1 in a row of zeros, at a place that the value's hash says; no list of values is kept."""

    def step(values: NDArray[Any]) -> NDArray[Any]:
        codes = values[:, 0] if column.kind == "text" else mix(values[:, 0].astype(np.int64).view(np.uint64))
        out = np.zeros((len(values), settings["buckets"]), dtype=np.float32)
        out[np.arange(len(values)), (codes % np.uint64(settings["buckets"])).astype(np.intp)] = 1.0
        return out

    return step


def _vocabulary(column: Column, settings: Settings) -> Step:
    """Make a step to 1 for the first value, 2 for the second, ...; 0 for a value that is not known."""
    known = Categories(column, tuple(settings["values"]))
    return lambda values: (known.index(values[:, 0]) + 1).astype(np.float32)[:, None]


def _parse_pad(spec: Any) -> dict[str, Any]:
    settings = dict(spec) if isinstance(spec, Mapping) else {"length": spec}
    length, value, keep = settings.pop("length", None), settings.pop("value", 0), settings.pop("keep", "first")
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError("its length is a whole number, 1 or more")
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError("its value is a number")
    if keep not in ("first", "last"):
        raise ValueError("keep is first or last: the elements of a longer list that stay")
    return {"length": length, "value": value, "keep": keep} | _none(settings)


def _pad(column: Column, settings: Settings) -> Step:  # noqa: ARG001 - the column is read so already
    return lambda values: values


NUMERIC = ("number", "list")
SINGLE = ("number", "text")
TRANSFORMS: dict[str, Kind] = {
    "pad": Kind(_parse_pad, _needs_nothing, _keep, _pad, ("list",)),
    "scale": Kind(_parse_scale, _needs_nothing, _keep, _scale, NUMERIC),
    "standardize": Kind(_parse_standardize, _needs_moments, _fit_standardize, _standardize, NUMERIC),
    "log": Kind(_parse_log, _needs_nothing, _keep, _log, NUMERIC),
    "one_hot": Kind(_parse_one_hot, _needs_categories, _fit_categories, _one_hot, SINGLE, True, _one_hot_width),
    "hash": Kind(_parse_hash, _needs_nothing, _keep, _hash, SINGLE, True, lambda settings: int(settings["buckets"])),
    "vocabulary": Kind(_parse_categories, _needs_categories, _fit_categories, _vocabulary, SINGLE, last=True),
    "impute": Kind(_parse_impute, _needs_middle, _fit_impute, _impute, (*NUMERIC, "text")),
}
EXAMPLES: dict[str, str] = {
    "pad": "pad: {length: 100, value: 0, keep: first}",
    "scale": "scale: 0.1",
    "standardize": "standardize",
    "log": "log: {add: 1}",
    "one_hot": "one_hot: {unknown: ignore}",
    "hash": "hash: 256",
    "vocabulary": "vocabulary: [red, green]",
    "impute": "impute: {value: mean, indicator: true}",
}
