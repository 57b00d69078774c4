"""Stages in a row as several chains, each over pieces or over all rows as it is best, or as it must be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from distprop.nn.arrays import Array, Params
from distprop.nn.chain import Chain, ChainBackward
from distprop.nn.layer import Context
from distprop.nn.stage import Stage


@dataclass(frozen=True, eq=False)
class Chains:
    """Stages in a row; `stages[0]` has index 0, but in a part. parts: of a part, its chains."""

    stages: tuple[Stage, ...]
    parts: tuple[Chain, ...] = ()

    @cached_property
    def first_trained(self) -> int:
        """The index of the first stage that has parameters; gradients go no further down."""
        return self.stages[0].index + Chain(self.stages).first_trained

    @cached_property
    def split(self) -> tuple[Chain, ...]:
        """Chains whose rows are all images or sequences, or all vectors: only the former go in pieces."""
        if self.parts:
            return self.parts
        runs = groupby(self.stages, lambda stage: (len(stage.input_shape) > 1, stage.layer.undivided))
        return tuple(Chain(tuple(run)) for _, run in runs)

    def cut(self, every: int) -> tuple["Chains", ...]:
        """Parts of so many stages, whose bits are those of the whole; indexes and numbers go on from part to part."""
        stages = self.stages
        return tuple(
            Chains(stages[at : at + every], tuple(part for c in self.split if (part := c.part(at, at + every))))
            for at in range(0, len(stages), every)
        )

    def forward(self, p: Sequence[Params], x: Array, ctx: Context) -> tuple[Array, ChainBackward]:
        """Outputs of x and the way back. p: for each stage, by its index.

        ctx: as for one layer; its `layer` is the number of the first stage's.
        """
        backwards: list[tuple[Chain, ChainBackward]] = []
        y, mine = x, ctx.may_overwrite_input
        for chain in self.split:
            y, backward, mine = chain.forward(_of(chain, p), y, self._context(chain, mine, ctx))
            backwards.append((chain, backward))
        last = 0 if ctx.wants_input_gradient else self.first_trained
        return y, lambda dy, g: self._backward(backwards, dy, g, last, ctx.written)

    def _context(self, chain: Chain, mine: bool, ctx: Context) -> Context:
        first = chain.stages[0]
        wanted = ctx.wants_input_gradient or first.index > self.first_trained
        return ctx.but(layer=ctx.layer + first.number, wants_input_gradient=wanted, may_overwrite_input=mine)

    def _backward(
        self,
        backwards: Sequence[tuple[Chain, ChainBackward]],
        dy: Array,
        g: Sequence[Params],
        last: int,
        written: Callable[[int], None] | None,
    ) -> Array | None:
        dx: Array | None = dy
        for chain, backward in reversed(backwards):
            if chain.stages[-1].index < last:
                break
            assert dx is not None, "only the last one that is called may return None"
            dx = backward(dx, _of(chain, g))
            if written is not None:
                written(chain.stages[0].index)
        return dx


def _of(chain: Chain, params: Sequence[Params]) -> list[Params]:
    return [params[stage.index] for stage in chain.stages]
