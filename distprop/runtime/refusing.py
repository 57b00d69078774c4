"""A row that a layer refuses, such as one with an id out of range, is named by its place in the data."""

from collections.abc import Iterator, Sequence

import numpy as np

from distprop.data.prepared import Dataset
from distprop.data.reader import Batch
from distprop.errors import DataError
from distprop.nn.network import Network
from distprop.runtime.memory import Vector

MOST_COLUMNS = 5


def placed(
    error: DataError, network: Network, weights: Vector, dataset: Dataset, split: str, batches: Sequence[Batch]
) -> DataError:
    """What a layer said of a row of these batches, with the row's column, row, row group and file."""
    found = next((at for batch in batches for at in _refused(network, weights, batch)), None)
    if found is None:
        return error
    where = dataset.splits[split].part.source.describe_row(found)
    return DataError(f"{error.what}: {_columns(dataset)}, row {where}", error.why, error.fix)


def _refused(network: Network, weights: Vector, batch: Batch) -> Iterator[int]:
    """The positions of rows that the network refuses; each is tried alone, once it is known that there is one."""
    for row, position in enumerate(batch.positions):
        try:
            with np.errstate(all="ignore"):
                network.predict(weights, batch.x[row : row + 1])
        except DataError:
            yield int(position)


def _columns(dataset: Dataset) -> str:
    names = [repr(column.name) for column in dataset.features.columns]
    more = ", ..." if len(names) > MOST_COLUMNS else ""
    return f"column{'s' if len(names) > 1 else ''} {', '.join(names[:MOST_COLUMNS])}{more}"
