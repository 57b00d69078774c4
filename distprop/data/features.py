"""From raw values to the float32 that a network sees: fitted once, saved with the model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Column, Padding, Raw, raw_from_numpy
from distprop.data.feature import Feature
from distprop.data.groups import Group, grouped
from distprop.data.moving import centre
from distprop.data.padding import pad_given
from distprop.data.transforms import Transform
from distprop.errors import DataError


def _raw_given(column: Column, values: Any) -> NDArray[Any]:
    return pad_given(column, list(values)) if column.padding else raw_from_numpy(column, values)


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
        """What a user predicts on -> (N, *input_shape) float32.

        data: pa.Table or RecordBatch, a frame, a mapping of column -> array, or one array: of the only column's values
        (N, *shape), or (N, D) of single-number columns in the order of `columns`. Raises DataError.
        """
        return self.apply_raw(self._raw(data))

    def _raw(self, data: Any) -> dict[str, NDArray[Any]]:
        if isinstance(data, np.ndarray | list):
            only = self.columns[0] if len(self.columns) == 1 else None
            if only is not None and only.padding:  # rows need not be equally long
                return {only.name: pad_given(only, list(data))}
            return self._raw_from_array(np.asarray(data))
        if hasattr(data, "schema") or hasattr(data, "to_parquet"):
            from distprop.data.decoding import raw_from_table  # pyarrow only where Arrow or frames come in

            return raw_from_table(self.columns, data)
        self._check_names(list(data))
        return {column.name: _raw_given(column, data[column.name]) for column in self.columns}

    def _raw_from_array(self, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
        columns = self.columns
        if len(columns) == 1:
            return {columns[0].name: raw_from_numpy(columns[0], array)}
        if array.ndim != 2 or array.shape[1] != len(columns) or any(column.kind == "list" for column in columns):
            raise DataError(
                f"cannot tell columns from an array of shape {array.shape}",
                f"the model has {len(columns)} columns: {', '.join(c.name for c in columns)}",
                "give a table or a mapping of column -> values",
            )
        return {column.name: raw_from_numpy(column, array[:, i]) for i, column in enumerate(columns)}

    def _check_names(self, given: list[str]) -> None:
        gone = [column.name for column in self.columns if column.name not in given]
        if gone:
            raise DataError(
                f"column {gone[0]!r} is missing",
                f"the data has {', '.join(map(str, given))}",
                f"the model needs {', '.join(c.name for c in self.columns)}",
            )

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
