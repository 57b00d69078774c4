"""Layers run one behind the other, forward and back, over all rows at once or piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distprop.errors import DataError
from distprop.nn.arrays import Array, Params
from distprop.nn.layer import Backward, Context
from distprop.nn.lengths import Lengths
from distprop.nn.stage import Stage

PIECE = 16
"""Rows of a piece: of images, so many stay in a core's cache with all that belongs to them."""

ChainBackward = Callable[[Array, Sequence[Params]], Array | None]
"""(dy, g for each stage) -> dx, or None where it is not wanted. May overwrite dy."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Stages in a row. divided: they are of a longer chain whose rows are worked on piece by piece."""

    stages: tuple[Stage, ...]
    divided: bool = False

    @cached_property
    def first_trained(self) -> int:
        """The place of the first stage that has parameters; the number of stages where none has."""
        return next((place for place, stage in enumerate(self.stages) if stage.parameters), len(self.stages))

    @cached_property
    def in_pieces(self) -> bool:
        """Whether rows are worked on piece by piece."""
        return self.divided or any(stage.layer.in_pieces for stage in self.stages)

    def part(self, start: int, stop: int) -> "Chain | None":
        """Those of its stages with an index from start to below stop, which get the bits that they have within it."""
        chosen = tuple(stage for stage in self.stages if start <= stage.index < stop)
        return Chain(chosen, self.in_pieces) if chosen else None

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The places of the stages as they are run: a pool before its relu, which then has fewer values to look at.

        The largest of rectified values is the rectified largest, and their gradients are the same.
        """
        order = list(range(len(self.stages)))
        for place in range(len(order) - 1):
            first, second = (self.stages[at].layer.kind for at in order[place : place + 2])
            if first == "relu" and second in ("max_pool2d", "max_pool1d"):
                order[place : place + 2] = order[place : place + 2][::-1]
        return tuple(order)

    def forward(self, p: Sequence[Params], x: Array, ctx: Context) -> tuple[Array, ChainBackward, bool]:
        """Outputs of x, the way back, and whether the outputs may be overwritten. p: for each stage.

        ctx: as for one layer; its `layer` is the number of the first stage's.
        """
        ctx = ctx.but(layer=ctx.layer - self.stages[0].number, output_passes=False)
        if self.in_pieces and len(x) > PIECE:
            return self._forward_in_pieces(p, x, ctx)
        return self._forward(p, x, ctx)

    def _forward(self, p: Sequence[Params], x: Array, ctx: Context) -> tuple[Array, ChainBackward, bool]:
        backwards: list[tuple[int, Backward]] = []
        y, mine = x, ctx.may_overwrite_input
        for turn, place in enumerate(self.order):
            stage = self.stages[place]
            try:
                y, backward = stage.layer.forward(p[place], y, self._context(turn, mine, ctx))
            except DataError as error:  # of a value that the layer refuses
                raise DataError(f"layer {stage.name}: {error.what}", error.why, error.fix) from None
            if ctx.watch is not None:
                ctx.watch.see(ctx.layer + stage.number, y)
            if not stage.keeps_time:
                ctx.lengths.values = None
            mine = mine if stage.layer.output == "input" else stage.layer.output == "free" or not ctx.training
            backwards.append((place, backward))
        last = 0 if ctx.wants_input_gradient else self.first_trained
        return y, lambda dy, g: self._backward(backwards[last:], dy, g, ctx.written), mine

    def _backward(
        self,
        backwards: Sequence[tuple[int, Backward]],
        dy: Array,
        g: Sequence[Params],
        written: Callable[[int], None] | None,
    ) -> Array | None:
        dx: Array | None = dy
        for place, backward in reversed(backwards):
            assert dx is not None, "only the last one that is called may return None"
            dx = backward(dx, g[place])
            if written is not None and self.stages[place].parameters:
                written(self.stages[place].index)
        return dx

    def _context(self, turn: int, mine: bool, ctx: Context) -> Context:
        stage = self.stages[self.order[turn]]
        following = [self.stages[place].layer for place in self.order[turn + 1 : turn + 2]]
        return ctx.but(
            layer=ctx.layer + stage.number,
            wants_input_gradient=ctx.wants_input_gradient or self.order[turn] > self.first_trained,
            may_overwrite_input=mine,
            output_passes=following[0].forgets if following else ctx.output_passes,
        )

    def _forward_in_pieces(self, p: Sequence[Params], x: Array, ctx: Context) -> tuple[Array, ChainBackward, bool]:
        memory = ctx.but(layer=ctx.layer + self.stages[0].number)
        y = memory.buffer("pieces", (len(x), *self.stages[-1].output_shape))
        whole, own = memory.buffer("lengths", (len(x),), np.intp), Lengths()
        backwards = []
        for piece, rows in _pieces(len(x)):
            own = ctx.lengths.of(rows)
            # Without a way back nothing is kept, and all pieces use the same memory.
            # Outputs are copied at once; gradients are whole with the last piece only.
            inner = ctx.but(piece=piece if ctx.training else 0, lengths=own, output_passes=True, written=None)
            y[rows], backward, _ = self._forward(p, x[rows], inner)
            if own.values is not None:
                whole[rows] = own.values
            backwards.append((rows, backward))
        ctx.lengths.values = None if own.values is None else whole
        return y, lambda dy, g: self._backward_in_pieces(backwards, dy, g, memory), True

    def _backward_in_pieces(
        self, backwards: list[tuple[slice, ChainBackward]], dy: Array, g: Sequence[Params], memory: Context
    ) -> Array | None:
        """Gradients of the pieces are added up in the order of rows."""
        dx = None
        if memory.wants_input_gradient:
            dx = memory.buffer("pieces dx", (len(dy), *self.stages[0].input_shape))
        share = [{name: memory.shared(f"{k}.{name}", view.shape) for name, view in p.items()} for k, p in enumerate(g)]
        for number, (rows, backward) in enumerate(backwards):
            part = backward(dy[rows], share if number else g)
            if dx is not None:
                dx[rows] = part
            if number:
                _add(share, g)
        return dx


def _pieces(rows: int) -> Iterator[tuple[int, slice]]:
    return enumerate(slice(start, start + PIECE) for start in range(0, rows, PIECE))


def _add(share: Sequence[Params], g: Sequence[Params]) -> None:
    for own, total in zip(share, g, strict=True):
        for name, view in own.items():
            np.add(total[name], view, out=total[name])
