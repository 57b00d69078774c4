"""Reports of many steps as one message: their arrays are stacked, so that a report costs no frame of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.protocol.course import TRAIN, Round
from distprop.protocol.messages import Gathered


@dataclass(frozen=True)
class Parcel:
    """N steps of one attempt. tails: (N, T). sums: slice -> block sums of squares (N, rows, B). times: in seconds."""

    attempt: int
    versions: tuple[int, ...]
    tails: NDArray[np.float64]
    sums: Mapping[int, NDArray[np.float64]]
    times: tuple[float, ...]


def pack(reports: Sequence[Gathered], times: Sequence[float]) -> Iterator[Parcel]:
    """The parcels of at least one report, of one attempt, and when each was made: one for alike steps in a row."""
    start = 0
    for _, run in groupby(reports, _shape):
        alike = tuple(run)
        yield _packed(alike, times[start : start + len(alike)])
        start += len(alike)


def _shape(report: Gathered) -> tuple[int, ...]:
    return tuple(next(iter(report.sums.values())).shape[:-1])


def _packed(reports: Sequence[Gathered], times: Sequence[float]) -> Parcel:
    first = reports[0]
    return Parcel(
        first.attempt,
        tuple(report.round.version for report in reports),
        np.stack([report.tail for report in reports]),
        {piece: np.stack([report.sums[piece] for report in reports]) for piece in first.sums},
        tuple(times),
    )


def unpack(parcel: Parcel) -> Iterator[Gathered]:
    """The reports, in their order."""
    rows = zip(*parcel.sums.values(), strict=True)
    for version, tail, own, made in zip(parcel.versions, parcel.tails, rows, parcel.times, strict=True):
        sums: Any = dict(zip(parcel.sums, own, strict=True))
        yield Gathered(parcel.attempt, Round(version, TRAIN), tail, sums, made)
