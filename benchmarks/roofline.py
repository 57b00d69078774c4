"""The roofline: the time of a step's matrix products alone, in each side's library, in as many processes as it has."""

import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import Case, Floats, Product
from benchmarks.child import Child, ask_all, kernel_settings, torch_settings
from benchmarks.figures import median
from benchmarks.job import Job

LEAST = 5  # repetitions


class Products(NamedTuple):
    """Asks for the milliseconds of all products, each measured for at least `seconds`."""

    seconds: float


class Leaves(NamedTuple):
    """Asks for the milliseconds of a whole leaf."""

    seconds: float


class Rooflines:
    """Processes that measure products: NumPy with the job's kernel, and torch where it is there."""

    def __init__(self, case: Case, workers: int, with_torch: bool) -> None:
        self._numpy = [Child(work_numpy, case, settings=kernel_settings()) for _ in range(workers)]
        theirs = workers if with_torch else 0
        self._torch = [Child(work_torch, case, settings=torch_settings()) for _ in range(theirs)]

    def numpy(self, seconds: float) -> float:
        """Milliseconds of the products in NumPy."""
        return median(ask_all(self._numpy, Products(seconds)))

    def torch(self, seconds: float) -> float:
        """Milliseconds of the products in torch; NaN without it."""
        return median(ask_all(self._torch, Products(seconds)))

    def leaf(self, seconds: float) -> float:
        """Milliseconds of a leaf of distprop's: products and all other arithmetic, nobody waiting for another."""
        return median(ask_all(self._numpy, Leaves(seconds)))

    def close(self) -> None:
        """End the processes."""
        for child in (*self._numpy, *self._torch):
            child.close()


def timed(work: Callable[[], Any], seconds: float) -> float:
    """The median of the milliseconds that `work` takes, after two calls that are not counted."""
    for _ in range(2):
        work()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < LEAST or time.perf_counter() < end:
        before = time.perf_counter()
        work()
        found.append(1e3 * (time.perf_counter() - before))
    return median(found)


def work_numpy(connection: Connection, case: Case) -> None:
    """Measure in NumPy."""
    while (asked := connection.recv()) is not None:
        if isinstance(asked, Leaves):
            connection.send(timed(_leaf(case), asked.seconds))
        else:
            connection.send(sum(timed(_numpy_product(product), asked.seconds) for product in case.products))


def work_torch(connection: Connection, case: Case) -> None:
    """Measure in torch."""
    torch: Any = import_module("torch")
    torch.set_num_threads(1)
    while (asked := connection.recv()) is not None:
        connection.send(sum(timed(_torch_product(torch, product), asked.seconds) for product in case.products))


def _numpy_product(product: Product) -> Callable[[], Any]:
    """As distprop's dense layer has it: weights (inputs, outputs), what is transposed is a view."""
    kind, m, k, n = product
    left = _values(k, m).T if kind == "weights" else _values(m, k)
    right = _values(n, k).T if kind == "input" else _values(k, n)
    out = np.empty((m, n), np.float32)
    return lambda: np.matmul(left, right, out=out)


def _torch_product(torch: Any, product: Product) -> Callable[[], Any]:
    """As torch.nn.Linear has it: weights (outputs, inputs), so that forward transposes them and `input` does not."""
    kind, m, k, n = product
    if kind == "weights":  # dy^T x
        left, right = torch.from_numpy(_values(k, n)).T, torch.from_numpy(_values(k, m))
    else:
        left = torch.from_numpy(_values(m, k))
        right = torch.from_numpy(_values(k, n)) if kind == "input" else torch.from_numpy(_values(n, k)).T
    out = torch.empty((left.shape[0], right.shape[1]))
    return lambda: torch.mm(left, right, out=out)


def _leaf(case: Case) -> Callable[[], Any]:
    """One worker's leaf of all its rows, with distprop's own code."""
    blueprint = Job(case.layers, case.input_shape, case.classes, case.rows, 1).blueprint()
    computer, batch = blueprint.computer(), blueprint.dataset.reader("train", 0).batch(0, 0)
    flat = np.empty(blueprint.parameters, np.float32)
    blueprint.network.init(blueprint.seed, flat)
    out = np.empty_like(flat)
    return lambda: computer.gradient(flat, batch.x, batch.y, None, 0, 0, out)


def _values(rows: int, columns: int) -> Floats:
    random = np.random.Generator(np.random.Philox(rows))
    return random.standard_normal((rows, columns), np.float32)
