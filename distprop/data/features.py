"""From raw values to the float32 that a network sees: fitted once, saved with the model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Column, Padding, Raw
from distprop.data.feature import Feature
from distprop.data.given import read_given
from distprop.data.groups import Group, grouped
from distprop.data.input_check import Encoded, Rows, bad_row_error, bad_rows
from distprop.data.moving import centre
from distprop.data.transforms import Transform


@dataclass(frozen=True)
class Features:
    """All columns that go into the network.

    One column alone keeps its shape; several stand one after the other in one flat vector (D,).
    crop: sizes that the first axes of the shape are cut to, around the centre; () leaves rows whole.
    """

    features: tuple[Feature, ...]
    crop: tuple[int, ...] = ()

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row's input."""
        return (*self.crop, *self.whole_shape[len(self.crop) :])

    @cached_property
    def whole_shape(self) -> tuple[int, ...]:
        """Shape of one row before it is cropped."""
        if len(self.features) == 1:
            only = self.features[0]
            if only.column.kind == "list" and not only.indicator:
                return only.column.shape
        return (sum(feature.width for feature in self.features),)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns to read."""
        return tuple(feature.column for feature in self.features)

    def apply_raw(self, raw: Raw) -> NDArray[np.float32]:
        """Raw values of all columns -> (N, *input_shape) float32, contiguous."""
        whole = self.whole(raw)
        return centre(whole, self.crop) if self.crop else whole

    def whole(self, raw: Raw) -> NDArray[np.float32]:
        """Raw values of all columns -> (N, *whole_shape) float32, contiguous; may be a view of them."""
        if len(self.features) == 1:
            only = self.features[0]
            x = np.ascontiguousarray(only.values(raw[only.column.name]), dtype=np.float32)
        else:
            x = np.empty((len(raw[self.features[0].column.name]), *self.whole_shape), dtype=np.float32)
            for group in self._groups:
                group.write(raw, x)
        shaped: NDArray[np.float32] = x.reshape(len(x), *self.whole_shape)
        return shaped

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        return grouped(self.features)

    def __getstate__(self) -> dict[str, Any]:
        """Travels without what is worked out from it."""
        return {"features": self.features, "crop": self.crop}

    def apply(self, data: Any) -> NDArray[np.float32]:
        """What a user predicts on -> (N, *input_shape) float32; see `read_given`. Raises DataError for any bad row."""
        given = read_given(self.columns, data)
        return self.checked(given.raw, given)

    def checked(self, raw: Raw, rows: Rows) -> NDArray[np.float32]:
        """As `apply_raw`. Raises DataError that names the first row, and its column, that no network can work with."""
        x, bad = self.encode(raw)
        if bad.any():
            raise bad_row_error(self.features, raw, int(np.flatnonzero(bad)[0]), rows)
        return x

    def encode(self, raw: Raw) -> Encoded:
        """As `apply_raw`, and which rows are bad; these are zeros."""
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is found here
            whole = self.whole(raw)
        bad = bad_rows(self.features, raw, whole)
        if bad.any():
            whole = np.where(bad.reshape(-1, *[1] * (whole.ndim - 1)), np.float32(0), whole)
        return Encoded(centre(whole, self.crop) if self.crop else whole, bad)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: part of a saved model."""
        features = [_feature_to_json(feature) for feature in self.features]
        return {"features": features} | ({"crop": list(self.crop)} if self.crop else {})

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> "Features":
        """The inverse of `to_json`."""
        return cls(tuple(_feature_from_json(one) for one in made["features"]), tuple(made.get("crop", ())))


def _feature_to_json(feature: Feature) -> dict[str, Any]:
    column = column_to_json(feature.column)
    return {"column": column, "transforms": [transform.to_json() for transform in feature.transforms]}


def _feature_from_json(made: Mapping[str, Any]) -> Feature:
    pairs = [next(iter(one.items())) for one in made["transforms"]]
    return Feature(column_from_json(made["column"]), tuple(Transform(kind, settings) for kind, settings in pairs))


def column_to_json(column: Column) -> dict[str, Any]:
    """A column's description as plain JSON."""
    return {
        "name": column.name,
        "kind": column.kind,
        "dtype": column.dtype,
        "shape": list(column.shape),
        "missing": column.missing,
    } | ({"padding": asdict(column.padding)} if column.padding else {})


def column_from_json(made: Mapping[str, Any]) -> Column:
    """The inverse of `column_to_json`."""
    padding = Padding(**made["padding"]) if "padding" in made else None
    return Column(made["name"], made["kind"], made["dtype"], tuple(made["shape"]), made["missing"], padding)
