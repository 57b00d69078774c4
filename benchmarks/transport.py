"""transport: an array there and back between two processes, by each carrier; loopback, and a link of 1 Gbit/s."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from benchmarks.carriers import CARRIERS
from benchmarks.child import Child, kernel_settings
from benchmarks.figures import median, spread
from benchmarks.link import Link, missing
from benchmarks.part import Report, Settings
from benchmarks.tables import share

MEGABYTES = (0.1, 2.0, 40.0)
TRIPS = {0.1: 100, 2.0: 24, 40.0: 4}
"""How often, before the next carrier has its turn."""
GIGABITS = 1.0
NEEDS = {"flight": "pyarrow.flight", "zeromq": "zmq"}

COLUMNS = {
    "path": "path",
    "megabytes": "MB",
    **{f"{name}_{key}": head.format(name) for name in CARRIERS for key, head in (("ms", "{} ms"), ("spread", "±"))},
    **{f"{name}_cpu_ms": f"{name} CPU ms" for name in CARRIERS},
    **{f"{name}_share_text": f"{name} of limit" for name in CARRIERS},
}

REMARKS = [
    "A message with an array of float32 there and back: ms is the median round trip, ± half the distance between the "
    "quartiles as a share of it, CPU what both processes spend on one round trip, in user and system.",
    "framed: distprop's own sockets and frames. flight: Arrow Flight, DoExchange. zeromq: pyzmq, PAIR, no copies.",
    f"of limit: what the bits alone take on a link of {GIGABITS:.0f} Gbit/s each way (tc tbf between two network "
    "namespaces), over what it took; headers of Ethernet, IP and TCP are 4.4 % of a frame, which nothing can save.",
]


class Took(NamedTuple):
    """A block of round trips: seconds of each, and CPU seconds of both processes for all."""

    seconds: list[float]
    cpu: float


class Place(NamedTuple):
    """Where two processes are: what stands before their commands, and the address of the one that echoes."""

    name: str
    prefixes: tuple[list[str], list[str]]
    address: str
    gigabits: float | None


def measure(settings: Settings) -> list[Report]:
    """All sizes on all paths, carriers in turns."""
    report = Report("Transport: a push there and back", COLUMNS, remarks=[*REMARKS])
    report.remarks += [f"{name} was left out: {NEEDS[name]} is not installed" for name in CARRIERS if not _there(name)]
    if why := missing():
        report.remarks.append(f"No shaped link: {why}.")
    for place in (_loopback, *(() if why else (_link,))):
        with place() as where:
            report.rows += _compare(where, settings)
    return [report]


@contextmanager
def _loopback() -> Iterator[Place]:
    yield Place("loopback", ([], []), "127.0.0.1", None)


@contextmanager
def _link() -> Iterator[Place]:
    with Link(GIGABITS) as link:
        yield Place(f"{GIGABITS:.0f} Gbit/s", (link.prefix(0), link.prefix(1)), link.address(0), GIGABITS)


def _there(name: str) -> bool:
    return name not in NEEDS or find_spec(NEEDS[name]) is not None


def _compare(place: Place, settings: Settings) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        pairs = {name: stack.enter_context(closing(Pair(name, place))) for name in CARRIERS if _there(name)}
        return [_row(place, size, _in_turns(pairs, place, size, settings)) for size in MEGABYTES]


def _in_turns(pairs: Mapping[str, "Pair"], place: Place, size: float, settings: Settings) -> dict[str, list[Took]]:
    settings.say(f"transport: {size} MB, {place.name}")
    trips = max(1, TRIPS[size] // (4 if settings.quick else 1))
    found: dict[str, list[Took]] = {name: [] for name in pairs}
    for pair in pairs.values():
        pair.run(size, 2)  # connections grow their windows, memory is touched
    for turn in range(2 * settings.rounds):
        for name in sorted(pairs, reverse=bool(turn % 2)):
            found[name].append(pairs[name].run(size, trips))
    return found


def _row(place: Place, size: float, found: Mapping[str, list[Took]]) -> dict[str, Any]:
    row: dict[str, Any] = {"path": place.name, "megabytes": size}
    least = 2 * 8e6 * size / (place.gigabits * 1e9) if place.gigabits else None
    for name, blocks in found.items():
        seconds = [one for block in blocks for one in block.seconds]
        row[f"{name}_ms"], row[f"{name}_spread"] = 1e3 * median(seconds), spread(seconds)
        row[f"{name}_cpu_ms"] = 1e3 * sum(block.cpu for block in blocks) / len(seconds)
        row[f"{name}_share"] = least / median(seconds) if least else None
        row[f"{name}_share_text"] = share(row[f"{name}_share"])
    return row


class Pair:
    """Two processes and a carrier between them."""

    def __init__(self, name: str, place: Place) -> None:
        far, near = place.prefixes
        self._echo = Child(echo, name, place.address, settings=kernel_settings(), prefix=far)
        port = self._echo.hear()
        self._caller = Child(call, name, place.address, port, settings=kernel_settings(), prefix=near)

    def run(self, megabytes: float, trips: int) -> Took:
        """Send an array there and back, `trips` times."""
        before = self._echo.ask("cpu")
        seconds, cpu = self._caller.ask((round(megabytes * 1e6) // 4, trips))
        return Took(seconds, cpu + self._echo.ask("cpu") - before)

    def close(self) -> None:
        """End both."""
        self._caller.close()
        self._echo.close()


def echo(connection: Connection, name: str, address: str) -> None:
    """The process that sends everything back. Tells its port, then, when it is asked, its CPU seconds."""
    serve: Callable[..., None] = CARRIERS[name].echo
    threading.Thread(target=serve, args=(address, connection.send), daemon=True).start()
    while connection.recv() is not None:
        connection.send(time.process_time())
    os._exit(0)  # carriers' threads do not all end when they are asked to


def call(connection: Connection, name: str, address: str, port: int) -> None:
    """The process that sends arrays of so many values, so many times. Tells how long each took, and its CPU seconds."""
    round_trip = CARRIERS[name].call(address, port)
    while (asked := connection.recv()) is not None:
        values, trips = asked
        array = np.arange(values, dtype=np.float32)
        assert np.array_equal(round_trip(array), array)
        began, seconds = time.process_time(), []
        for _ in range(trips):
            started = time.perf_counter()
            round_trip(array)
            seconds.append(time.perf_counter() - started)
        connection.send((seconds, time.process_time() - began))
    os._exit(0)
