"""Forward and backward of one layer, in distprop and in PyTorch: each a child that measures when it is asked."""

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.cases import Floats
from benchmarks.figures import median
from benchmarks.layer_cases import Single
from distprop.nn.network import Pass
from distprop.nn.workspace import Workspace

TRIAL = 0.1  # seconds, for each of PyTorch's layouts
LEAST = 3  # passes in a block


class Block(NamedTuple):
    """Asks for the milliseconds of each pass in so many seconds."""

    seconds: float


class Values(NamedTuple):
    """Asks for the outputs and the gradient of the inputs, as distprop lays them out."""


class Side(Protocol):
    """A layer that was built."""

    def once(self) -> float:
        """Forward and backward; the seconds that they took."""

    def values(self) -> tuple[Floats, Floats]:
        """Outputs and the gradient of the inputs."""


class Ours:
    """The layer as a worker runs it: in pieces where that suits it, with the gradient of its inputs."""

    def __init__(self, single: Single) -> None:
        self._network, self._flat, self._x, self._dy = single.network(), single.weights(), single.x(), single.dy()
        self._run = Pass(Workspace(), training=True, input_gradient=True)
        self._lent, self._g = np.empty_like(self._dy), np.empty_like(self._flat)

    def once(self) -> float:
        """Forward and backward; the gradient of the outputs, which backward may overwrite, is copied outside."""
        np.copyto(self._lent, self._dy)
        began = time.perf_counter()
        _, backward = self._network.forward(self._flat, self._x, self._run)
        backward(self._lent, self._g)
        return time.perf_counter() - began

    def values(self) -> tuple[Floats, Floats]:
        """Outputs and the gradient of the inputs."""
        y, backward = self._network.forward(self._flat, self._x, self._run)
        y = y.copy()
        dx = backward(self._dy.copy(), self._g)
        assert dx is not None, "it was asked for"
        return y, dx.copy()


class Theirs:
    """PyTorch's layer with the same weights. last: images with their channels last in memory."""

    def __init__(self, single: Single, last: bool = False) -> None:
        torch = _torch()
        self._single, self._last = single, last
        self._module = _module(torch, single)
        self._x, self._dy = self._tensor(torch, single.x()).requires_grad_(), self._tensor(torch, single.dy())

    def once(self) -> float:
        """Forward and backward; gradients of the last pass are dropped outside."""
        self._module.zero_grad()
        self._x.grad = None
        began = time.perf_counter()
        self._module(self._x).backward(self._dy)
        return time.perf_counter() - began

    def values(self) -> tuple[Floats, Floats]:
        """Outputs and the gradient of the inputs."""
        self._x.grad = None
        y = self._module(self._x)
        y.backward(self._dy)
        return self._array(y), self._array(self._x.grad)

    def _tensor(self, torch: Any, array: Floats) -> Any:
        if not self._single.images:
            return torch.from_numpy(array)
        first = torch.from_numpy(array).permute(0, 3, 1, 2)
        return first.contiguous(memory_format=torch.channels_last if self._last else torch.contiguous_format)

    def _array(self, tensor: Any) -> Floats:
        found = tensor.detach().permute(0, 2, 3, 1) if self._single.images else tensor.detach()
        return np.ascontiguousarray(found.numpy())


def work_ours(connection: Connection, single: Single) -> None:
    """The child that measures distprop."""
    _answer(connection, Ours(single))


def work_theirs(connection: Connection, single: Single) -> None:
    """The child that measures PyTorch, in whichever layout it is quicker."""
    layouts = (False, True) if single.images else (False,)
    sides = [Theirs(single, last) for last in layouts]
    _answer(connection, min(sides, key=lambda side: median(_passes(side, TRIAL))))


def _answer(connection: Connection, side: Side) -> None:
    while (asked := connection.recv()) is not None:
        connection.send(side.values() if isinstance(asked, Values) else _passes(side, asked.seconds))


def _passes(side: Side, seconds: float) -> list[float]:
    """Milliseconds of each pass, the first of which is not counted."""
    side.once()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < LEAST or time.perf_counter() < end:
        found.append(1e3 * side.once())
    return found


def _torch() -> Any:
    torch: Any = import_module("torch")
    torch.set_num_threads(1)
    return torch


def _module(torch: Any, single: Single) -> Any:
    p = single.network().arena.views(single.weights())
    build, names = _MODULES[single.kind]
    module = build(torch, single)
    weights = names({name.rpartition(".")[2]: view for name, view in p.items()})
    module.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(W)) for name, W in weights.items()}, False)
    return module


def _recurrent(p: Mapping[str, Floats]) -> dict[str, Floats]:
    """PyTorch has the transposed weights, and two biases: the GRU's inner one is a part of the second."""
    hidden = np.zeros_like(p["b"])
    if "b_inner" in p:
        hidden[-len(p["b_inner"]) :] = p["b_inner"]
    return {"weight_ih_l0": p["W"].T, "weight_hh_l0": p["U"].T, "bias_ih_l0": p["b"], "bias_hh_l0": hidden}


def _attention(p: Mapping[str, Floats]) -> dict[str, Floats]:
    inner = {"inner.in_proj_weight": p["W"].T, "inner.in_proj_bias": p["b"]}
    return inner | {"inner.out_proj.weight": p["W_out"].T, "inner.out_proj.bias": p["b_out"]}


def _scaled(p: Mapping[str, Floats]) -> dict[str, Floats]:
    return {"weight": p["scale"], "bias": p["shift"]}


def _convolution(torch: Any, single: Single) -> Any:
    return torch.nn.Conv2d(single.input_shape[-1], single.network().output_shape[-1], 3, padding=1)


def _of_outputs(torch: Any, name: str, single: Single) -> Any:
    """A recurrent layer without its last state."""
    made = getattr(torch.nn, name)(single.input_shape[-1], single.network().output_shape[-1], batch_first=True)
    made.register_forward_hook(lambda module, given, found: found[0])  # noqa: ARG005 - PyTorch calls it so
    return made


def _of_itself(torch: Any, single: Single) -> Any:
    """Attention of a sequence to itself, without the weights: then PyTorch takes its fused kernel."""
    heads = single.layer["attention"]

    class Itself(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.MultiheadAttention(single.input_shape[-1], heads, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.inner(x, x, x, need_weights=False)[0]

    return Itself()


Build = Callable[[Any, Single], Any]
Names = Callable[[Mapping[str, Floats]], dict[str, Floats]]
_MODULES: Mapping[str, tuple[Build, Names]] = {
    "conv2d": (_convolution, lambda p: {"weight": p["W"].transpose(3, 2, 0, 1), "bias": p["b"]}),
    "lstm": (lambda torch, single: _of_outputs(torch, "LSTM", single), _recurrent),
    "gru": (lambda torch, single: _of_outputs(torch, "GRU", single), _recurrent),
    "attention": (_of_itself, _attention),
    "batch_norm": (lambda torch, single: torch.nn.BatchNorm2d(single.input_shape[-1]), _scaled),
    "layer_norm": (lambda torch, single: torch.nn.LayerNorm(single.input_shape[-1]), _scaled),
    "max_pool2d": (lambda torch, single: torch.nn.MaxPool2d(2), lambda p: {}),  # noqa: ARG005
}
