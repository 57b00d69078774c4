"""Raw values of many columns: single numbers of one type lie side by side in one matrix, so that a hundred cost one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.data.columns import Column


class Place(NamedTuple):
    """Where a column is: in which block, and at which place of it; None where the block is the column."""

    block: int
    at: int | None


class Columns(Mapping[str, NDArray[Any]]):
    """Raw values by column, each (N,) or (N, width), in the order of the columns."""

    def __init__(self, blocks: Sequence[NDArray[Any]], places: Mapping[str, Place]) -> None:
        self.blocks, self.places = tuple(blocks), places

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column: a view where it is part of a matrix."""
        block, at = self.places[name]
        return self.blocks[block] if at is None else self.blocks[block][:, at]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def nbytes(self) -> int:
        """Memory of all values."""
        return sum(block.nbytes for block in self.blocks)

    def take(self, which: Any) -> "Columns":
        """The rows at a slice (no copy) or at an array of places."""
        return Columns([block[which] for block in self.blocks], self.places)

    def matrix(self, names: Sequence[str]) -> NDArray[Any] | None:
        """Columns side by side, (N, C), if they lie in one matrix."""
        places = [self.places[name] for name in names]
        which = [place.at for place in places if place.at is not None]
        if len(which) < len(names) or len({place.block for place in places}) > 1:
            return None
        block = self.blocks[places[0].block]
        return block if which == list(range(block.shape[1])) else block[:, which]


def stack(columns: Sequence[Column], values: Mapping[str, NDArray[Any]]) -> Columns:
    """Put the numbers of each type into a matrix."""
    alike: dict[str, list[str]] = {}
    for column in columns:
        key = str(values[column.name].dtype) if column.kind == "number" else f"own {column.name}"
        alike.setdefault(key, []).append(column.name)
    blocks: list[NDArray[Any]] = []
    places: dict[str, Place] = {}
    for number, names in enumerate(alike.values()):
        alone = len(names) == 1
        blocks.append(values[names[0]] if alone else np.stack([values[name] for name in names], axis=1))
        places |= {name: Place(number, None if alone else at) for at, name in enumerate(names)}
    return Columns(blocks, {column.name: places[column.name] for column in columns})


def join_columns(parts: Sequence[Columns]) -> Columns:
    """The rows of all parts, which have the same columns, one after the other."""
    blocks = [np.concatenate(same) for same in zip(*(part.blocks for part in parts), strict=True)]
    return Columns(blocks, parts[0].places)


def side_by_side(raw: Mapping[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    """Columns of single numbers as one matrix (N, C), without a copy where they are one already."""
    found = raw.matrix(names) if isinstance(raw, Columns) else None
    return np.stack([raw[name] for name in names], axis=1) if found is None else found
