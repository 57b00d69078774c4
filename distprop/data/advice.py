"""What `check` says about data that trains, but badly: how the files could be written better."""

import numpy as np

from distprop.data.dataset import Dataset
from distprop.data.part import Part

SMALL = 32 * 2**20  # bytes of decoded rows that are read once and then stay in memory
LOOKED_AT = 8_192  # rows of the target
FEW_ROWS = 100


def advise(data: Dataset) -> list[str]:
    """Sentences about the training files: what costs much, and how to rewrite them. Reads some thousand labels."""
    train = data.splits["train"]
    found = [_huge_row_groups(train.part, train.plan.shards)]
    if data.targets.classes is not None:
        found.append(_sorted_labels(train.part, data.targets.column.name, data.train_plan.shards))
    return [advice for advice in found if advice]


def _huge_row_groups(part: Part, shards: int) -> str:
    """Each shard decodes every row group that it has rows of, whole."""
    if part.rows * sum(column.raw_dtype.itemsize * column.width for column in part.columns) < SMALL:
        return ""
    groups = part.source.row_groups
    bounds = [(v * part.rows // shards, (v + 1) * part.rows // shards) for v in range(shards)]
    decoded = sum(groups[piece.group].rows for start, stop in bounds for piece in part.pieces(start, stop))
    if decoded < 2 * part.source.rows or shards == 1:
        return ""
    wanted = max(1, part.source.rows // (4 * shards))
    return (
        f"{shards} shards share {len(groups)} row groups of up to {max(g.rows for g in groups)} rows, so rows are "
        f"decoded {decoded / part.source.rows:.1f} times: write the file again with row groups of {wanted} rows "
        f"(pyarrow: write_table(..., row_group_size={wanted}))"
    )


def _sorted_labels(part: Part, target: str, shards: int) -> str:
    """Few changes from one label to another, among the first rows, mean that the rows are sorted."""
    chunks, rows = [], 0
    for group, described in enumerate(part.source.row_groups):
        if rows < LOOKED_AT:
            chunks.append(part.read(group).columns[target])
            rows += described.rows
    labels = np.concatenate(chunks)
    changes = int((labels[1:] != labels[:-1]).sum())
    if len(labels) < FEW_ROWS or changes >= 2 * len(np.unique(labels)):
        return ""
    one = "each shard sees few of the classes, and " if shards > 1 else ""
    return (
        f"the rows are sorted by {target!r}: {one}shuffling reaches only as far as `data.shuffle_rows`: "
        "write the file again with its rows in random order"
    )
