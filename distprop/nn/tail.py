"""The tail of a leaf: what travels behind a gradient and is added up along the same tree."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arrays import Array
from distprop.nn.counts import Counts, Table
from distprop.nn.metric import Metric

Tail = NDArray[np.float64]
LOSS, WEIGHT, ROWS, SUMS = 0, 1, 2, 3  # where things are; metric sums start at SUMS, counts follow


@dataclass(frozen=True)
class TailLayout:
    """Where the sums are in a tail: float64 [loss, weight, rows, *metric sums], and in evaluations *counts behind.

    outputs: how many values are predicted of a row. Tails are added value by value.
    """

    metrics: tuple[Metric, ...]
    outputs: int
    counts: Counts | None = None

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """Where each metric's sums are."""
        stops = np.cumsum([SUMS, *(metric.width(self.outputs) for metric in self.metrics)]).tolist()
        return tuple(slice(start, stop) for start, stop in pairwise(stops))

    @cached_property
    def width(self) -> int:
        """Values in the tail of a gradient."""
        return self.spans[-1].stop if self.spans else SUMS

    @cached_property
    def evaluation_width(self) -> int:
        """Values in the tail of an evaluation: those of a gradient's, then the counts."""
        return self.width + (int(np.prod(self.counts.shape)) if self.counts else 0)

    def write(self, tail: Tail, loss: float, batch: tuple[Array, Array, Array | None]) -> None:
        """Write all sums of a batch (outputs, targets, weights) into tail (width,) or (evaluation_width,)."""
        outputs, _, weights = batch
        rows = len(outputs)
        tail[LOSS], tail[ROWS] = loss, rows
        tail[WEIGHT] = rows if weights is None else np.sum(weights, dtype=np.float64)
        for metric, span in zip(self.metrics, self.spans, strict=True):
            tail[span] = metric.sums(*batch)
        if self.counts is not None and tail.size == self.evaluation_width:
            tail[self.width :] = self.counts.table(*batch).reshape(-1)

    def read(self, tail: Tail) -> dict[str, float]:
        """The loss and the metrics as means over the rows whose tails were added; NaN where there were none."""
        weight = float(tail[WEIGHT])
        values = {"loss": float(tail[LOSS]) / weight if weight else float("nan")}
        for metric, span in zip(self.metrics, self.spans, strict=True):
            values[metric.name] = metric.value(tail[span], weight)
        return values

    def read_counts(self, tail: Tail) -> Table | None:
        """The table of counts behind an evaluation's tail, or None where it has none."""
        if self.counts is None or tail.size < self.evaluation_width:
            return None
        return tail[self.width : self.evaluation_width].reshape(self.counts.shape)
