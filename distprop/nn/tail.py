"""The tail of a leaf: what travels behind a gradient and is added up along the same tree."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from distprop.nn.activity import Activity
from distprop.nn.arrays import Array
from distprop.nn.counts import Counts, Table
from distprop.nn.metric import Metric
from distprop.nn.scored import Scored

Tail = NDArray[np.float64]
LOSS, WEIGHT, ROWS, SQUARES, SUMS = 0, 1, 2, 3, 4  # where things are; metric sums start at SUMS, counts follow


@dataclass(frozen=True)
class TailLayout:
    """Where things are in a tail: float64 [loss, weight, rows, squares, *metric sums], and what evaluations add.

    That is *counts, then *activity: sums over what layers give.
    squares: of leaves of which it was asked, the square of the gradient's length, over the weight; else 0.
    outputs: how many values are predicted of a row. Tails are added value by value. Where a metric needs all rows at
    once, an evaluation's tail has room for each row of the split behind its counts: a leaf writes its own rows in
    their places and leaves zeros elsewhere, so that adding tails gathers them exactly.
    """

    metrics: tuple[Metric, ...]
    outputs: int
    counts: Counts | None = None
    activity: Activity | None = None

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
        """Values in the tail of an evaluation before gathered rows: of a gradient's, then the counts, then activity."""
        return self.counts_stop + (self.activity.width if self.activity else 0)

    @cached_property
    def counts_stop(self) -> int:
        """Where the counts end."""
        return self.width + (int(np.prod(self.counts.shape)) if self.counts else 0)

    @cached_property
    def row_width(self) -> int:
        """Values that an evaluation gathers of each row: outputs, target and weight; 0 where no metric needs them."""
        return self.outputs + 2 if any(metric.of_rows for metric in self.metrics) else 0

    def room(self, rows: int) -> int:
        """Values in the tail of an evaluation of a split with that many rows."""
        return self.evaluation_width + rows * self.row_width

    def rows(self, tail: Tail) -> Table:
        """The gathered rows in an evaluation's tail (N, row_width), a view; there may be none."""
        return tail[self.evaluation_width :].reshape(-1, max(self.row_width, 1))

    def write_rows(self, rows: Table, batch: tuple[Array, Array, Array | None]) -> None:
        """Write a batch (outputs, targets, weights) into its rows (N, row_width)."""
        outputs, targets, weights = batch
        rows[:, : self.outputs] = outputs.reshape(len(outputs), self.outputs)
        rows[:, self.outputs] = targets.reshape(-1)
        rows[:, self.outputs + 1] = 1.0 if weights is None else weights

    def scored(self, tail: Tail) -> Scored | None:
        """The rows behind an evaluation's tail, or None where it has none."""
        if not self.row_width or tail.size <= self.evaluation_width:
            return None
        rows = self.rows(tail)
        return Scored(rows[:, : self.outputs], rows[:, self.outputs], rows[:, self.outputs + 1])

    def write(self, tail: Tail, loss: float, batch: tuple[Array, Array, Array | None]) -> None:
        """Write all sums of a batch (outputs, targets, weights) into tail (width,) or (evaluation_width,)."""
        outputs, _, weights = batch
        rows = len(outputs)
        tail[LOSS], tail[ROWS], tail[SQUARES] = loss, rows, 0.0
        tail[WEIGHT] = rows if weights is None else np.sum(weights, dtype=np.float64)
        for metric, span in zip(self.metrics, self.spans, strict=True):
            tail[span] = metric.sums(*batch)
        if self.counts is not None and tail.size == self.evaluation_width:
            tail[self.width : self.counts_stop] = self.counts.table(*batch).reshape(-1)

    def read(self, tail: Tail) -> dict[str, float]:
        """The loss and the metrics of the rows whose tails were added; NaN where there were none.

        Metrics that need all rows at once are left out where the tail has not gathered them.
        """
        weight, scored = float(tail[WEIGHT]), self.scored(tail)
        values = {"loss": float(tail[LOSS]) / weight if weight else float("nan")}
        for metric, span in zip(self.metrics, self.spans, strict=True):
            if metric.of_rows is None:
                values.update(metric.named(metric.value(tail[span], weight)))
            elif scored is not None:
                values.update(metric.named(metric.of_rows(scored)))
        return values

    def read_counts(self, tail: Tail) -> Table | None:
        """The table of counts behind an evaluation's tail, or None where it has none."""
        if self.counts is None or tail.size < self.evaluation_width:
            return None
        return tail[self.width : self.counts_stop].reshape(self.counts.shape)

    def read_activity(self, tail: Tail) -> dict[str, float]:
        """Shares of dead and saturated units, by figure, behind an evaluation's tail."""
        if self.activity is None or tail.size < self.evaluation_width or not tail[ROWS]:
            return {}
        return self.activity.read(tail[self.counts_stop : self.evaluation_width])
