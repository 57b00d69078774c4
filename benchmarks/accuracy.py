"""accuracy: seconds until MNIST's test rows are told apart well enough: distprop, PyTorch DDP, scikit-learn."""

import os
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import ddp
from benchmarks.cases import CASES, SEED, Floats, Labels
from benchmarks.child import Child, ask_all, kernel_settings, torch_settings
from benchmarks.driven import on_ray
from benchmarks.figures import median
from benchmarks.part import Report, Settings

WANTED = 0.975
EPOCHS, BATCH, RATE = 20, 256, 1e-3
CASE = CASES["B"]

COLUMNS = {
    "side": "side",
    "seconds": "seconds",
    "whole_seconds": "with start",
    "epochs": "epochs",
    "accuracy": "accuracy",
    "runs": "runs",
    "skipped": "skipped",
}

REMARKS = [
    f"Until all test rows, evaluated once an epoch, give {100 * WANTED:.1f} % or more: {CASE.title}, Adam {RATE}, "
    f"{BATCH} rows a step over 2 processes of one thread; scikit-learn: one process of 2 threads. seconds: from the "
    "first step to that evaluation; with start: from the call, with processes, data and compilation. DDP and "
    "scikit-learn have all rows in memory as float32; distprop reads them from Parquet and proves each epoch.",
]


class Reached(NamedTuple):
    """How a run ended: seconds since the first step and since the call, epochs, accuracy."""

    seconds: float
    whole: float
    epochs: int
    accuracy: float


def measure(settings: Settings) -> list[Report]:
    """All sides, in turns."""
    report = Report(f"Accuracy: time to {100 * WANTED:.1f} % on MNIST", COLUMNS, remarks=REMARKS)
    folder = Path(os.environ.get("DATA", "data")) / "mnist"
    if not (folder / "train.parquet").exists():
        report.rows.append({"side": "all", "skipped": f"{folder} is not there: set DATA to the folder that has mnist/"})
        return [report]
    sides: dict[str, tuple[Callable[[Path, int], Reached], str | None]] = {
        "distprop": (_distprop, None),
        "PyTorch DDP": (_ddp, ddp.why_not()),
        "scikit-learn": (_sklearn, None if find_spec("sklearn") else "scikit-learn is not installed"),
    }
    found: dict[str, list[Reached]] = {side: [] for side in sides}
    with on_ray():
        for number in range(1 if settings.quick else 3):
            for side, (run, missing) in sides.items():
                if missing is None:
                    settings.say(f"accuracy: {side}, run {number + 1}")
                    found[side].append(run(folder, settings.workers))
    report.rows += [_row(side, found[side], missing) for side, (_, missing) in sides.items()]
    return [report]


def _row(side: str, runs: list[Reached], missing: str | None) -> dict[str, Any]:
    if missing:
        return {"side": side, "skipped": missing}
    return {
        "side": side,
        "seconds": median([run.seconds for run in runs]),
        "whole_seconds": median([run.whole for run in runs]),
        "epochs": int(median([run.epochs for run in runs])),
        "accuracy": median([run.accuracy for run in runs]),
        "runs": len(runs),
    }


def _distprop(folder: Path, workers: int) -> Reached:
    import distprop as dp
    from distprop.events import Evaluated, Event, StepEnded

    called = time.time()
    moments: list[float] = []
    seen: list[Reached] = []

    def heard(event: Event) -> None:
        if isinstance(event, StepEnded) and not moments:
            moments.append(event.time - event.seconds if event.version > 1 else event.time)
        if isinstance(event, Evaluated):
            accuracy = event.metrics["valid/accuracy"]
            seen.append(Reached(event.time - moments[0], event.time - called, round(event.epoch), accuracy))
            if accuracy >= WANTED:
                raise dp.Stop("well enough")

    with tempfile.TemporaryDirectory(prefix="distprop-bench-") as checkpoints:
        dp.train(_job(folder, workers, checkpoints), workers=workers, listeners=[heard])
    return seen[-1]


def _job(folder: Path, workers: int, checkpoints: str) -> dict[str, Any]:
    return {
        "name": "benchmark",
        "seed": SEED,
        "data": {
            "train": str(folder / "train.parquet"),
            "valid": str(folder / "test.parquet"),
            "features": {"image": {"scale": 1 / 255}},
            "target": "label",
            "shards": workers,
            "batch_size": BATCH,
        },
        "model": list(CASE.layers),
        "loss": "softmax_cross_entropy",
        "optimizer": {"adam": {"learning_rate": RATE}},
        "train": {"epochs": EPOCHS, "evaluate_every": "1 epoch"},
        "checkpoint": {"every": None, "dir": checkpoints},
        "tracking": {"enabled": False},
    }


def _ddp(folder: Path, workers: int) -> Reached:
    called = time.time()
    port = ddp.free_port()
    children = [
        Child(train_torch, str(folder), rank, workers, port, settings=torch_settings()) for rank in range(workers)
    ]
    try:
        reached: Reached = ask_all(children, called)[0]
    finally:
        for child in children:
            child.close()
    return reached


def _sklearn(folder: Path, workers: int) -> Reached:
    threads = str(workers)
    settings = kernel_settings() | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    child = Child(train_sklearn, str(folder), settings=settings)
    try:
        reached: Reached = child.ask(time.time())
    finally:
        child.close()
    return reached


def train_torch(connection: Connection, folder: str, rank: int, workers: int, port: int) -> None:
    """One process of the group: its share of the rows, and of the test rows."""
    torch, distributed = ddp.join(rank, workers, port)
    called = connection.recv()
    (x, y), (test_x, test_y) = (
        [torch.from_numpy(values[rank::workers].copy()) for values in _rows(Path(folder), name)]
        for name in ("train", "test")
    )
    model = ddp.parallel(ddp.module(torch, CASE))
    optimizer, measure_loss = torch.optim.Adam(model.parameters(), RATE, fused=True), torch.nn.CrossEntropyLoss()
    order = torch.Generator().manual_seed(SEED + rank)
    distributed.barrier()
    began = time.time()

    def epoch() -> None:
        for rows in torch.randperm(len(x), generator=order).split(BATCH // workers):
            model.zero_grad()
            measure_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()

    def accuracy() -> float:
        with torch.no_grad():
            right = (model.module(test_x).argmax(1) == test_y).sum()
        counts = torch.stack([right, torch.tensor(len(test_y))])
        distributed.all_reduce(counts)
        return float(counts[0] / counts[1])

    connection.send(_until(epoch, accuracy, began, called))
    distributed.destroy_process_group()


def train_sklearn(connection: Connection, folder: str) -> None:
    """One process."""
    network: Any = import_module("sklearn.neural_network")
    called = connection.recv()
    (x, y), (test_x, test_y) = (_rows(Path(folder), name) for name in ("train", "test"))
    model = network.MLPClassifier(
        CASE.widths[1:-1], batch_size=BATCH, learning_rate_init=RATE, alpha=0.0, random_state=SEED
    )
    classes = np.arange(CASE.classes)
    began = time.time()
    reached = _until(
        lambda: model.partial_fit(x, y, classes=classes), lambda: float(model.score(test_x, test_y)), began, called
    )
    connection.send(reached)


def _until(epoch: Callable[[], Any], accuracy: Callable[[], float], began: float, called: float) -> Reached:
    reached = Reached(0.0, 0.0, 0, 0.0)
    while reached.accuracy < WANTED and reached.epochs < EPOCHS:
        epoch()
        found, now = accuracy(), time.time()
        reached = Reached(now - began, now - called, reached.epochs + 1, found)
    return reached


def _rows(folder: Path, name: str) -> tuple[Floats, Labels]:
    """All rows of a split: pixels (N, 784) in 0..1, labels (N,)."""
    pq: Any = import_module("pyarrow.parquet")
    table = pq.read_table(folder / f"{name}.parquet", columns=["image", "label"]).combine_chunks()
    pixels = table["image"].chunk(0).flatten().to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
    return pixels.astype(np.float32) / np.float32(255), table["label"].to_numpy().astype(np.int64)
