"""Branches that are joined. Their parameters' names have the branch in front: "1.0.dense.W"."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arrays import Array, Params, Shape
from distprop.nn.containers import Block, Shapes, container, recomputing, specs
from distprop.nn.layer import Backward, Context, Layer
from distprop.suggest import suggest_name


def parallel(branches: Sequence[Sequence[Layer]], join: str = "add", recompute: bool = False) -> Layer:
    """Each branch gets x; their outputs are joined by add, multiply or concat (along the last axis)."""
    if join not in JOINS:
        raise ConfigError(f"`parallel.join` is {join!r}", f"there are: {', '.join(JOINS)}", suggest_name(join, JOINS))
    blocks: list[Block] = []
    for index, layers in enumerate(branches):
        before = blocks[-1].number + blocks[-1].inside if blocks else 0
        blocks.append(Block(tuple(layers), f"{index}.", before))

    def shapes(shape: Shape) -> Shapes:
        parts = [block.shapes(shape) for block in blocks]
        parameters = {name: of for _, own in parts for name, of in own.items()}
        return _joined([out for out, _ in parts], join), parameters

    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        lengths = [ctx.lengths.of(slice(None)) for _ in blocks]
        apart = [ctx.but(may_overwrite_input=False, lengths=own) for own in lengths]
        ways = [block.forward(p, x, own) for block, own in zip(blocks, apart, strict=True)]
        ctx.lengths.values = next((own.values for own in lengths if own.values is not None), None)
        outputs = [y for y, _ in ways]
        y = ctx.buffer("y", (len(x), *_joined([y.shape[1:] for y in outputs], join)))
        JOINS[join].join(outputs, y)

        def backward(dy: Array, g: Params) -> Array | None:
            total = None
            for index, (out, inner) in enumerate(ways):
                own = ctx.passing("own", out.shape)
                JOINS[join].share(index, outputs, dy, own)
                total = _total(total, inner(own, g), ctx)
            return total

        return y, backward

    settings = {"branches": [specs(layers) for layers in branches], "join": join, "recompute": recompute}
    return recomputing(container("parallel", settings, blocks, shapes, forward))


def _total(total: Array | None, dx: Array | None, ctx: Context) -> Array | None:
    if dx is None:
        return None
    into = ctx.passing("dx", dx.shape)
    if total is None:
        np.copyto(into, dx)
    else:
        np.add(into, dx, out=into)
    return into


def _joined(outputs: Sequence[Shape], join: str) -> Shape:
    """The shape of the joined outputs. Raises ShapeError."""
    concat = join == "concat"
    kept = {shape[:-1] if concat else shape for shape in outputs}
    if len(kept) > 1 or not all(outputs):
        raise ShapeError(
            f"branches give rows of shapes {', '.join(map(str, outputs))}",
            f"{join} takes {'shapes that differ in the last length alone' if concat else 'equal shapes'}",
            "let the branches end alike",
        )
    last = sum(shape[-1] for shape in outputs) if concat else outputs[0][-1]
    return (*outputs[0][:-1], last)


class Join(NamedTuple):
    """join: (outputs, y) writes y. share: (index, outputs, dy, out) writes what that branch gets of dy."""

    join: Callable[[Sequence[Array], Array], None]
    share: Callable[[int, Sequence[Array], Array, Array], None]


def _add(outputs: Sequence[Array], y: Array) -> None:
    np.copyto(y, outputs[0])
    for output in outputs[1:]:
        np.add(y, output, out=y)


def _share_sum(index: int, outputs: Sequence[Array], dy: Array, out: Array) -> None:  # noqa: ARG001 - one form for all
    np.copyto(out, dy)


def _multiply(outputs: Sequence[Array], y: Array) -> None:
    np.copyto(y, outputs[0])
    for output in outputs[1:]:
        np.multiply(y, output, out=y)


def _share_product(index: int, outputs: Sequence[Array], dy: Array, out: Array) -> None:
    np.copyto(out, dy)
    for other, output in enumerate(outputs):
        if other != index:
            np.multiply(out, output, out=out)


def _concat(outputs: Sequence[Array], y: Array) -> None:
    np.concatenate(outputs, axis=-1, out=y)


def _share_part(index: int, outputs: Sequence[Array], dy: Array, out: Array) -> None:
    start = sum(output.shape[-1] for output in outputs[:index])
    np.copyto(out, dy[..., start : start + out.shape[-1]])


JOINS: Mapping[str, Join] = {
    "add": Join(_add, _share_sum),
    "multiply": Join(_multiply, _share_product),
    "concat": Join(_concat, _share_part),
}
