"""hosts: a step over two hosts with a link of 1 Gbit/s between them, nothing computed: its time and its bytes."""

import os
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.child import Child, kernel_settings
from benchmarks.driven import Driven
from benchmarks.figures import median, samples, spread
from benchmarks.idle import IdleBlueprint, idle_job
from benchmarks.link import HOSTS, Link, missing
from benchmarks.nodes import Cluster, ray_nodes
from benchmarks.part import Report, Settings
from benchmarks.tables import share
from distprop.runtime.ray.connecting import connect

GIGABITS = 1.0
SIZES = (100_000, 1_000_000, 10_000_000)
WORKERS = (2, 4)
SECONDS = 2.0  # of a block of steps, if the link were all that takes time
BUCKETS = range(32, 256)  # kB that the link lets pass at once after a pause, small and large
LITTLE = 1 / 32  # of a step's bytes, which the bucket may be
WARM = 3  # steps in which connections grow their windows and memory is touched

COLUMNS = {
    "megabytes": "MB",
    "workers": "workers",
    "distprop_ms": "distprop ms",
    "spread": "±",
    "limit_ms": "limit ms",
    "share_text": "of limit",
    "sent_mb": "sent MB",
    "received_mb": "received MB",
    "computed_mb": "computed",
    "beyond_text": "more than computed",
}

REMARKS = [
    f"Two hosts, namespaces of this machine's network, {GIGABITS:.0f} Gbit/s each way (tc tbf); a Ray node, "
    "a server and half of the workers on each. Gradients are filled, added up, SGD updates the weights, all have them.",
    "limit: what the computed bytes take on the link, which carries both directions at once; of limit: that over the "
    "step. Headers of Ethernet, IP and TCP are 4.4 % of a full frame, so 96 % is all there is. After a pause the link "
    f"lets {BUCKETS.start} kB pass at once, {BUCKETS.stop} kB where that is little: of the smallest push it is much.",
    "sent, received: by the first host a step, as its interface counts them, everything included (Ray's own messages, "
    "headers, acknowledgements); computed: 2 (M - 1) / M of the arena for M = 2 hosts, half of it gradients, half "
    "weights, whatever the number of workers.",
]


class Block(NamedTuple):
    """Asks for a block of steps."""

    steps: int


class Ran(NamedTuple):
    """When steps ended, in seconds, and what the interface sent and received meanwhile, in bytes a step."""

    times: list[float]
    sent: float
    received: float


def measure(settings: Settings) -> list[Report]:
    """All sizes, with all numbers of workers."""
    report = Report(f"Hosts: two, with {GIGABITS:.0f} Gbit/s between them", COLUMNS, remarks=[*REMARKS])
    if why := missing():
        report.remarks.append(f"Nothing was measured: {why}.")
        return [report]
    with Link(GIGABITS) as link, ray_nodes(link, max(WORKERS)) as cluster:
        report.rows += _rows(link, cluster, settings)
    return [report]


def _rows(link: Link, cluster: Cluster, settings: Settings) -> Iterator[dict[str, Any]]:
    for parameters in SIZES:
        link.shape(bucket(parameters))
        for workers in WORKERS:
            settings.say(f"hosts: {4 * parameters / 1e6} MB, {workers} workers")
            variables = {**kernel_settings(), **cluster.variables}
            about = (cluster.address, parameters, workers)
            with closing(Child(drive, *about, settings=variables, prefix=link.prefix(0))) as child:
                yield row(parameters, workers, list(_blocks(child, parameters, settings)))


def _blocks(child: Child, parameters: int, settings: Settings) -> Iterator[Ran]:
    rounds = 1 if settings.quick else settings.rounds
    seconds = SECONDS / (2 if settings.quick else 1)
    steps = WARM + min(200, max(6, round(seconds / (limit_ms(parameters) / 1e3))))
    return (child.ask(Block(steps)) for _ in range(rounds))


def computed_bytes(parameters: int) -> float:
    """What a host sends, and receives, in a step."""
    return 2 * (HOSTS - 1) / HOSTS * 4 * parameters


def limit_ms(parameters: int) -> float:
    """Milliseconds that these take on the link."""
    return 1e3 * 8 * computed_bytes(parameters) / (GIGABITS * 1e9)


def bucket(parameters: int) -> int:
    """What the link lets pass at once, in kB."""
    return min(max(BUCKETS.start, int(LITTLE * computed_bytes(parameters) / 1e3)), BUCKETS.stop)


def row(parameters: int, workers: int, blocks: list[Ran]) -> dict[str, Any]:
    """A line of the table."""
    found = [one for ran in blocks for one in samples(ran.times, 1, WARM)]
    step, limit, computed = median(found), limit_ms(parameters), computed_bytes(parameters) / 1e6
    sent, received = (
        median([moved / 1e6 for moved in all_]) for all_ in zip(*(ran[1:] for ran in blocks), strict=True)
    )
    return {
        "parameters": parameters,
        "megabytes": 4 * parameters / 1e6,
        "workers": workers,
        "hosts": HOSTS,
        "gigabits": GIGABITS,
        "distprop_ms": step,
        "spread": spread(found),
        "limit_ms": limit,
        "share": limit / step,
        "share_text": share(limit / step),
        "sent_mb": sent,
        "received_mb": received,
        "computed_mb": computed,
        "beyond": max(sent, received) / computed - 1,
        "beyond_text": f"{100 * (max(sent, received) / computed - 1):.1f} %",
    }


def drive(connection: Connection, address: str, parameters: int, workers: int) -> None:
    """The process on the first host that drives a job: blocks of steps, as they are asked for."""
    with closing(connect(address, max(WORKERS))):
        blueprint = idle_job(parameters, workers).blueprint(IdleBlueprint)
        with closing(Driven(blueprint, workers, HOSTS)) as driven:
            while (asked := connection.recv()) is not None:
                before = _moved()
                times = driven.run(asked.steps).times
                sent, received = ((after - one) / asked.steps for after, one in zip(_moved(), before, strict=True))
                connection.send(Ran(times, sent, received))
    os._exit(0)  # Ray's threads do not all end when they are asked to


def _moved() -> list[int]:
    """Bytes that the interface sent and received so far."""
    statistics = Path("/sys/class/net/eth0/statistics")
    return [int((statistics / f"{way}_bytes").read_text()) for way in ("tx", "rx")]
