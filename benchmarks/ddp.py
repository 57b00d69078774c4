"""PyTorch DDP over gloo, at its best: fused Adam, gradients as views of buckets, a static graph, one thread."""

import socket
import time
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import LEARNING_RATE, SEED, Case, Floats, global_batch
from benchmarks.child import Child, ask_all, torch_settings
from benchmarks.roofline import timed
from distprop.nn.network import build_network


class Block(NamedTuple):
    """Asks for a block of steps from the initial weights."""

    steps: int
    clip_norm: float | None = None


class Alone(NamedTuple):
    """Asks how long forward and backward take without anybody else, in milliseconds, at least `seconds` long."""

    seconds: float


class Ddp:
    """One process a worker."""

    def __init__(self, case: Case, workers: int) -> None:
        port = free_port()
        self._children = [Child(work, case, rank, workers, port, settings=torch_settings()) for rank in range(workers)]

    def run(self, steps: int, clip_norm: float | None = None) -> tuple[list[float], list[float]]:
        """When steps ended (of the first process), and the losses over all rows."""
        answers = ask_all(self._children, Block(steps, clip_norm))
        losses = np.mean([losses for _, losses in answers], axis=0)
        return answers[0][0], losses.tolist()

    def alone(self, seconds: float) -> float:
        """Milliseconds of forward and backward, all processes at the same time but none waiting for another."""
        return float(np.median(ask_all(self._children, Alone(seconds))))

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.close()


def why_not() -> str | None:
    """Why PyTorch cannot be measured; None where it can."""
    return None if find_spec("torch") else "torch is not installed: pip install 'distprop-train[bench]'"


def work(connection: Connection, case: Case, rank: int, workers: int, port: int) -> None:
    """One process of the group."""
    torch, distributed = join(rank, workers, port)
    x, y = global_batch(case.input_shape, case.classes, case.rows * workers)
    mine = slice(rank * case.rows, (rank + 1) * case.rows)
    batch = torch.from_numpy(x[mine].copy()), torch.from_numpy(y[mine].copy())
    while (asked := connection.recv()) is not None:
        if isinstance(asked, Alone):
            step = _step(torch, module(torch, case), batch, None)
            distributed.barrier()
            connection.send(timed(step, asked.seconds))
        else:
            connection.send(_block(torch, distributed, case, batch, asked))
    distributed.destroy_process_group()


def join(rank: int, workers: int, port: int) -> tuple[Any, Any]:
    """Become one of the group: torch and torch.distributed."""
    torch: Any = import_module("torch")
    distributed: Any = import_module("torch.distributed")
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=workers)
    return torch, distributed


def parallel(model: Any) -> Any:
    """The model, with gradients that are averaged over the group."""
    kind: Any = import_module("torch.nn.parallel").DistributedDataParallel
    return kind(model, gradient_as_bucket_view=True, static_graph=True)


def _block(torch: Any, distributed: Any, case: Case, batch: Any, asked: Block) -> tuple[list[float], list[float]]:
    model = parallel(module(torch, case))
    step = _step(torch, model, batch, torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True), asked.clip_norm)
    distributed.barrier()
    times, losses = [], []
    for _ in range(asked.steps):
        losses.append(step())
        times.append(time.perf_counter())
    distributed.barrier()
    return times, [float(loss) for loss in losses]


def _step(torch: Any, model: Any, batch: Any, optimizer: Any, clip_norm: float | None = None) -> Any:
    """Forward and backward, and where there is an optimizer its step; gives the loss before it."""
    x, y = batch
    measure = torch.nn.CrossEntropyLoss()
    parameters = list(model.parameters())

    def step() -> Any:
        model.zero_grad()
        loss = measure(model(x), y)
        loss.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        if optimizer is not None:
            optimizer.step()
        return loss.detach()

    return step


def module(torch: Any, case: Case) -> Any:
    """The case's network with the initial weights that distprop gives it."""
    network = build_network(case.layers, case.input_shape)
    flat: Floats = np.empty(network.arena.size, np.float32)
    network.init(SEED, flat)
    views = network.arena.views(flat)
    weights = [(views[name], views[name[:-1] + "b"]) for name in views if name.endswith(".W")]
    module = _dense(torch, case) if case.widths else _convolutional(torch)
    trained = [one for one in module if hasattr(one, "weight")]
    for one, (W, b) in zip(trained, weights, strict=True):
        one.weight.data.copy_(torch.from_numpy(_as_torch(W, one is trained[-1] and not case.widths)))
        one.bias.data.copy_(torch.from_numpy(b.copy()))
    return module


def _dense(torch: Any, case: Case) -> Any:
    layers: list[Any] = []
    for index, (inputs, outputs) in enumerate(zip(case.widths, case.widths[1:], strict=False)):
        layers += [torch.nn.ReLU()] if index else []
        layers += [torch.nn.Linear(inputs, outputs)]
    return torch.nn.Sequential(*layers)


def _convolutional(torch: Any) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Unflatten(1, (1, 28)),  # rows (28, 28, 1): one channel, so its place is a matter of shape alone
        nn.Flatten(3),
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(32 * 49, 10),
    )


def _as_torch(W: Floats, behind_pixels: bool) -> Floats:
    """Weights in PyTorch's layout: outputs first; pixels' channels before their places."""
    if W.ndim == 4:  # (height, width, inputs, outputs)
        return np.ascontiguousarray(W.transpose(3, 2, 0, 1))
    if behind_pixels:
        W = W.reshape(7, 7, 32, -1).transpose(2, 0, 1, 3).reshape(7 * 7 * 32, -1)
    return np.ascontiguousarray(W.T)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
