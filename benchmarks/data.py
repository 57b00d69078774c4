"""data: rows a second out of Parquet as training reads them, beside a bare pyarrow scan of the same columns."""

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cases import SEED
from benchmarks.figures import median, spread
from benchmarks.part import Report, Settings
from distprop.data.dataset import prepare

BATCH, SHARDS = 256, 2
GROUP = 10_000  # rows a row group
PIXELS = 784

COLUMNS = {
    "table": "table",
    "rows": "rows",
    "distprop_rows_per_second": "distprop rows/s",
    "spread": "±",
    "scan_rows_per_second": "scan rows/s",
    "share": "distprop / scan",
    "later_rows_per_second": "second epoch rows/s",
    "skipped": "skipped",
}

REMARKS = [
    f"distprop: one process reads the first epoch of both its shards in leaves of {BATCH // SHARDS} rows: decoded, "
    "shuffled, turned into float32 features, hashed for the receipt; the second epoch finds what is decoded.",
    "scan: pyarrow decodes the same columns, a row group at a time, on one thread, and does nothing with them. Files "
    "are in the system's page cache.",
]


def measure(settings: Settings) -> list[Report]:
    """Numbers, images, and MNIST where it is."""
    report = Report("Data: rows a second", COLUMNS, remarks=REMARKS)
    rows = 20_000 if settings.quick else 200_000
    with tempfile.TemporaryDirectory(prefix="distprop-bench-") as folder:
        numbers, images = Path(folder) / "numbers.parquet", Path(folder) / "images.parquet"
        pq.write_table(numbers_table(rows), numbers, row_group_size=GROUP)
        pq.write_table(images_table(rows // 4), images, row_group_size=GROUP)
        report.rows.append(_row("40 float32 columns", numbers, "all", settings))
        report.rows.append(_row("images, 784 bytes", images, {"image": {"scale": 1 / 255}}, settings))
    report.rows.append(_mnist(settings))
    return [report]


def numbers_table(rows: int) -> pa.Table:
    """Forty columns of numbers and a label."""
    random = np.random.Generator(np.random.Philox(SEED))
    columns: dict[str, Any] = {f"f{index:02}": random.standard_normal(rows, np.float32) for index in range(40)}
    return pa.table({**columns, "label": random.integers(0, 10, rows)})


def images_table(rows: int) -> pa.Table:
    """Images of 28 x 28 bytes and a label."""
    random = np.random.Generator(np.random.Philox(SEED))
    pixels = pa.array(random.integers(0, 256, rows * PIXELS, np.uint8))
    shaped = pa.field("image", pa.list_(pa.uint8(), PIXELS), metadata={"shape": "28,28,1"})
    columns = [pa.FixedSizeListArray.from_arrays(pixels, PIXELS), pa.array(random.integers(0, 10, rows))]
    return pa.table(columns, schema=pa.schema([shaped, pa.field("label", pa.int64())]))


def _mnist(settings: Settings) -> dict[str, Any]:
    path = Path(os.environ.get("DATA", "data")) / "mnist" / "train.parquet"
    if not path.exists():
        return {"table": "MNIST", "skipped": f"{path} is not there: set DATA to the folder that has mnist/"}
    return _row("MNIST", path, {"image": {"scale": 1 / 255}}, settings)


def _row(name: str, path: Path, features: Any, settings: Settings) -> dict[str, Any]:
    settings.say(f"data: {name}")
    wanted = {"train": str(path), "features": features, "target": "label", "shards": SHARDS, "batch_size": BATCH}
    dataset = prepare(wanted, SEED, "classification")
    rows = dataset.train_plan.rows
    first, later, scans = [], [], []
    for _ in range(settings.rounds):
        fresh = pickle.loads(pickle.dumps(dataset))  # as it comes to a worker, with nothing decoded yet
        readers = [fresh.reader("train", shard) for shard in range(SHARDS)]
        first.append(rows / _seconds(lambda: _epoch(readers, 0)))  # noqa: B023 - called at once
        later.append(rows / _seconds(lambda: _epoch(readers, 1)))  # noqa: B023
        scans.append(rows / _seconds(lambda: scan(path)))
    return {
        "table": name,
        "rows": rows,
        "distprop_rows_per_second": median(first),
        "spread": spread(first),
        "scan_rows_per_second": median(scans),
        "share": median(first) / median(scans),
        "later_rows_per_second": median(later),
    }


def _epoch(readers: list[Any], epoch: int) -> None:
    """All leaves of an epoch, as a worker that owns all shards reads them."""
    plan = readers[0].plan
    for step in range(plan.steps_per_epoch):
        for shard in plan.leaves(step):
            readers[shard].batch(epoch, step)


def scan(path: Path) -> int:
    """Decode all row groups; how many rows there were."""
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        return sum(file.read_row_group(group, use_threads=False).num_rows for group in groups)


def _seconds(work: Callable[[], Any]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before
