"""A regression's target in the units that its network learns: standardized, or as it is.

The mean and the spread come from the survey's one pass over the training rows, as those of features do, and each row
counts once, whatever it weighs. The difference from the mean is taken in float64, so that 100,000.25 is not rounded to
a float32 before. Both travel with the model, which gives predictions in the target's own units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.moments import Moments
from distprop.data.transforms import Transform
from distprop.errors import ConfigError

STANDARDIZE = "standardize"
Exact = NDArray[np.float64]


@dataclass(frozen=True)
class TargetUnits:
    """The network learns (value - mean) / std. Each has one number for each of a row's K values."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for what no target can be divided by."""
        numbers = np.array([self.mean, self.std], np.float64)
        if not np.isfinite(numbers).all() or not (numbers[1] > 0.0).all():
            raise ValueError("mean and std are finite numbers, and std is above 0")

    @property
    def arrays(self) -> tuple[Exact, Exact]:
        """Mean (K,) and std (K,)."""
        return np.array(self.mean, np.float64), np.array(self.std, np.float64)

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values (N,) or (N, K), K > 1 or N lists of one -> the same shape in float32."""
        mean, std = self.arrays
        learned: NDArray[np.float32] = ((raw.astype(np.float64) - mean) / std).astype(np.float32)
        return learned

    def to_json(self) -> dict[str, list[float]]:
        """Plain JSON: part of a saved model."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, made: Mapping[str, Sequence[float]]) -> "TargetUnits":
        """The inverse of `to_json`."""
        return cls(tuple(map(float, made["mean"])), tuple(map(float, made["std"])))


def read_target(spec: Any) -> tuple[str, Transform | None]:
    """The column that `data.target` names, and how it is standardized. Raises ConfigError.

    "price", {"price": "standardize"}, {"price": {"standardize": {"mean": 0, "std": 100}}}; {"price": None} leaves its
    values as they are.
    """
    if isinstance(spec, str):
        return spec, None
    name, how = next(iter(spec.items()))
    if how is None or how == {}:
        return name, None
    kind, settings = (how, None) if isinstance(how, str) else _only_item(how)
    if kind != STANDARDIZE:
        raise _unreadable(name, how)
    known = dict(settings) if isinstance(settings, Mapping) else {}
    if (settings is not None and not isinstance(settings, Mapping)) or set(known) not in (set(), {"mean", "std"}):
        raise _unreadable(name, how)
    return name, Transform(STANDARDIZE, known)


def _only_item(how: Any) -> tuple[Any, Any]:
    return next(iter(how.items())) if isinstance(how, Mapping) and len(how) == 1 else (None, None)


def _unreadable(name: str, how: Any) -> ConfigError:
    return ConfigError(
        f"`data.target.{name}` is {how!r}",
        "a target is standardized or left as it is",
        f"write `target: {{{name}: standardize}}` or `target: {{{name}: null}}`",
    )


def fit_units(name: str, how: Transform, moments: Moments) -> TargetUnits:
    """Complete units from the moments of the training rows; a constant target has the spread 1. Raises ConfigError."""
    settings, width = how.fit(moments if how.need else None).settings, len(moments.mean)
    try:
        mean, std = (np.broadcast_to(np.asarray(settings[key], np.float64), width) for key in ("mean", "std"))
        return TargetUnits(tuple(mean.tolist()), tuple(std.tolist()))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"`data.target.{name}.standardize` is {dict(settings)!r}",
            "mean and std are finite numbers, std above 0: one for all values of a row, or one for each",
            f"write `target: {{{name}: standardize}}` to have them measured",
        ) from error
