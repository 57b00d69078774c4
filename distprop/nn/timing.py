"""A network that tells how long its layers take."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from distprop.nn.arrays import Array, Params
from distprop.nn.layer import Backward, Context, Layer
from distprop.nn.network import Network


class Clock(Protocol):
    """Whoever asks has it: nothing that computes reads one."""

    def now(self) -> float:
        """Seconds since some moment."""

    def note(self, layer: str, way: str, since: float) -> None:
        """Hear that a layer has worked since then, "forward" or "backward"."""


def timed(network: Network, clock: Clock) -> Network:
    """The same network, with the same bits; `clock` hears of each layer in passes of training.

    A layer that works piece by piece is heard of for each. What is inside of a container counts as the container's.
    """
    stages = (replace(stage, layer=_timed(stage.layer, stage.name, clock)) for stage in network.stages)
    return Network(tuple(stages), network.input_shape)


def _timed(layer: Layer, name: str, clock: Clock) -> Layer:
    def forward(p: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        if not ctx.training:
            return layer.forward(p, x, ctx)
        since = clock.now()
        y, backward = layer.forward(p, x, ctx)
        clock.note(name, "forward", since)
        return y, _timed_way(backward, lambda since: clock.note(name, "backward", since), clock.now)

    return layer._replace(forward=forward)


def _timed_way(backward: Backward, note: Callable[[float], None], now: Callable[[], float]) -> Backward:
    def back(dy: Array, g: Params) -> Array | None:
        since = now()
        dx = backward(dy, g)
        note(since)
        return dx

    return back
