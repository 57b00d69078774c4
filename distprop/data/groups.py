"""Columns that go the same way through preprocessing, taken together: one operation for all instead of one for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Raw
from distprop.data.feature import Feature, missing
from distprop.data.stacking import side_by_side
from distprop.data.transforms import TRANSFORMS, Settings, Step, Transform

SWITCHES = ("absolute", "indicator")  # settings that must be the same for columns that go together


@dataclass(frozen=True)
class Group:
    """Features that are worked out together, and where in a row of x they go."""

    features: tuple[Feature, ...]
    places: slice | NDArray[np.intp]
    steps: tuple[Step, ...]

    def write(self, raw: Raw, x: NDArray[np.float32]) -> None:
        """Write their values into x (N, D)."""
        first = self.features[0]
        if len(self.features) == 1:
            x[:, self.places] = first.values(raw[first.column.name])
            return
        start = side_by_side(raw, [feature.column.name for feature in self.features])
        values = start
        for step in self.steps:
            values = step(values)
        x[:, self.places] = values
        if first.indicator:
            assert not isinstance(self.places, slice)
            x[:, self.places + 1] = missing(first.column, start)


def grouped(features: Sequence[Feature]) -> tuple[Group, ...]:
    """All features, each in one group; in a row of x they stand in their own order whatever the groups."""
    alike: dict[Any, list[tuple[Feature, int]]] = {}
    place = 0
    for feature in features:
        alike.setdefault(_way(feature), []).append((feature, place))
        place += feature.width
    return tuple(_group([f for f, _ in members], [at for _, at in members]) for members in alike.values())


def _way(feature: Feature) -> Any:
    """The same for columns that go together."""
    column, kinds = feature.column, [transform.kind for transform in feature.transforms]
    if column.kind != "number" or any(TRANSFORMS[kind].last for kind in kinds):
        return column.name
    switches = [[t.settings.get(name) for name in SWITCHES] for t in feature.transforms]
    return (column.raw_dtype, column.missing, str((kinds, switches)))


def _group(features: list[Feature], starts: list[int]) -> Group:
    first, count = features[0], len(features)
    if count == 1:
        return Group((first,), slice(starts[0], starts[0] + first.width), ())
    together = not first.indicator and starts[-1] - starts[0] == count - 1
    places = slice(starts[0], starts[0] + count) if together else np.array(starts, dtype=np.intp)
    merged = (_merge(same) for same in zip(*(feature.transforms for feature in features), strict=True))
    return Group(tuple(features), places, tuple(transform.build(first.column) for transform in merged))


def _merge(transforms: Sequence[Transform]) -> Transform:
    """One transform of a matrix (N, C), with the settings of each of its columns."""
    settings: Settings = transforms[0].settings
    merged: Mapping[str, Any] = {
        name: value if name in SWITCHES else np.concatenate([np.ravel(t.settings[name]) for t in transforms])
        for name, value in settings.items()
    }
    return Transform(transforms[0].kind, merged)
