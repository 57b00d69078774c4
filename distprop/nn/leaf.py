"""The gradient of a leaf: the inner loop of a worker, as a pure function of its arguments."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from distprop.errors import ShapeError
from distprop.nn.activity import Activity, Watch
from distprop.nn.arena import Block
from distprop.nn.arithmetic import computing
from distprop.nn.arrays import Array
from distprop.nn.counts import Counts, Table
from distprop.nn.layer import Place
from distprop.nn.loss import Loss
from distprop.nn.metric import Metric
from distprop.nn.micro import Total, micro_batches
from distprop.nn.network import Network, Pass
from distprop.nn.rows import RowGradients, square_of_rows
from distprop.nn.tail import SQUARES, WEIGHT, Tail, TailLayout
from distprop.nn.workspace import Workspace


class Progress(Protocol):
    """Hears of a gradient that is being computed."""

    def measured(self, tail: Tail) -> None:
        """The tail is there; of the gradient nothing is yet."""

    def written(self, start: int) -> None:
        """Values start, start + 1, ... of the gradient are there."""


class LeafComputer:
    """Computes leaves of one job: for one thread, with memory that is allocated at the first leaf and kept.

    Law: what it returns and writes depends on the arguments alone, not on earlier calls.
    micro_batch: a leaf is the sum of its rows' pieces of so many, each computed for itself; None: it is one piece.
    spread (K,): what 1 of the target's standardized values is in its own units, which are those of the metrics; the
    loss is that of the values as they are learned. None: they are learned as they are.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        metrics: Sequence[Metric],
        seed: int,
        counts: Counts | None = None,
        activity: Activity | None = None,
        micro_batch: int | None = None,
        spread: Array | None = None,
    ) -> None:
        require_outputs(network, loss)
        self.network, self.loss, self.seed, self.micro_batch = network, loss, seed, micro_batch
        self._spread = spread
        self.layout = TailLayout(tuple(metrics), loss.predicted_width(network.output_shape[-1]), counts, activity)
        self.workspace = Workspace()

    @property
    def tail_width(self) -> int:
        """Values in the tail of a gradient."""
        return self.layout.width

    @property
    def evaluation_width(self) -> int:
        """Values in the tail of an evaluation, without rows; the first `tail_width` are those of a gradient's tail."""
        return self.layout.evaluation_width

    def gradient(
        self,
        flat: Array,
        x: Array,
        y: Array,
        weights: Array | None,
        step: int,
        shard: int,
        out: Array,
        squares: bool = False,
        progress: "Progress | None" = None,
        rows: Sequence[RowGradients] = (),
    ) -> Tail:
        """Write the gradient of the sum of the rows' losses into out (G,) and return the tail (tail_width,).

        Running statistics have the leaf's there, times its rows.

        flat (P,): weights, only read.  x (N, *input_shape), y: targets of N rows, weights (N,) or None: ones.
        out: every value is written. step, shard: what dropout is keyed by. squares: whether the tail has
        the gradient's; they come behind it, so `progress` has a tail without. rows: where the gradients of tables are
        appended, one for each. Raises ShapeError.
        """
        pieces, known = micro_batches(len(x), self.micro_batch), list(map(len, rows))
        total, tail = Total(out, self.workspace), np.empty(self.tail_width)
        with computing():
            for piece, cut in enumerate(pieces):
                place, told = Place(self.seed, step, shard, piece), progress if cut is pieces[-1] else None
                into, written = total.begin(piece, told.written if told else None)
                run = Pass(self.workspace, training=True, place=place, written=written, rows=rows or None)
                outputs, backward = self.network.forward(flat, x[cut], run)
                own = np.empty(self.tail_width) if piece else tail
                dout = self._loss_into(own, outputs, y[cut], None if weights is None else weights[cut])
                tail = tail + own if piece else own
                if told:
                    told.measured(tail)
                backward(dout, into)
                total.end()
            if squares and tail[WEIGHT]:
                tail[SQUARES] = self._square(out, rows, known) / tail[WEIGHT]
        return tail

    def evaluate(
        self, flat: Array, x: Array, y: Array, weights: Array | None = None, rows: Table | None = None
    ) -> Tail:
        """The tail (evaluation_width,) of a batch, with all that is behind; no gradient, no dropout. Raises ShapeError.

        rows (N, layout.row_width): where the rows are written, if a metric needs them.
        """
        tail = np.zeros(self.evaluation_width)
        activity = self.layout.activity
        watch = Watch(activity, tail[self.layout.counts_stop :]) if activity else None
        with computing():
            outputs, _ = self.network.forward(flat, x, Pass(self.workspace, watch=watch))
            self._loss_into(tail, outputs, y, weights)
        if rows is not None and self.layout.row_width:
            self.layout.write_rows(rows, self.measured(outputs, y, weights))
        return tail

    def _square(self, out: Array, rows: Sequence[RowGradients], known: Sequence[int]) -> float:
        """The square of a gradient's length; of tables' rows those behind the `known` first ones."""
        appended = [one.since(start) for one, start in zip(rows, known, strict=True)]
        return square_length(out, self.network.arena.learned_blocks) + square_of_rows(appended)

    def _loss_into(self, tail: Tail, outputs: Array, y: Array, weights: Array | None) -> Array:
        dout = self.workspace.buffer(("dout",), outputs.shape, outputs.dtype)
        value = self.loss.value_and_gradient(outputs, y, weights, dout)
        self.layout.write(tail, value, self.measured(outputs, y, weights))
        return dout

    def measured(self, outputs: Array, y: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
        """What metrics are measured on: predictions, targets and weights of rows.

        Values of a standardized target are in its own units then, float64, both counted from its mean in training: the
        metrics of values are about differences, and differences of large numbers lose digits.
        """
        predicted = self.loss.predicted(outputs)
        if self._spread is None:
            return predicted, y, weights
        return predicted * self._spread, y * self._spread, weights


def square_length(vector: Array, blocks: Sequence[Block]) -> float:
    """The square of the length of a vector (P,) in some blocks: their products with themselves, added in float64."""
    parts = (vector[block.start : block.stop] for block in blocks)
    return float(np.add.reduce(np.array([np.dot(part, part) for part in parts], np.float64)))


def require_outputs(network: Network, loss: Loss, classes: int | None = None) -> None:
    """Raise ShapeError unless the network ends as the loss needs it.

    classes: the number of classes, or of values in a regression's target; None: not known yet.
    """
    last, shape = network.stages[-1], network.output_shape
    if last.layer.kind == loss.normalizes:
        raise ShapeError(
            f"layer {last.name} comes before loss {loss.name}",
            f"{loss.name} takes raw outputs and applies {loss.normalizes} itself",
            f"leave the last `{loss.normalizes}` out",
        )
    count = classes if classes is not None else loss.predicted_width(shape[0] if shape else 1)
    needed = (loss.outputs_for(count),)
    if shape != needed:
        raise ShapeError(
            f"layer {last.name} gives rows of shape {shape}, loss {loss.name} needs {needed}",
            _reason(loss, classes),
            f"end the model with `dense: {needed[0]}`",
        )


def _reason(loss: Loss, classes: int | None) -> str:
    if classes is None:
        return f"{loss.name} takes rows of that shape"
    return f"the target has {classes} {'values' if loss.task == 'regression' else 'classes'}"
