"""The bare step: gradients and weights in shared memory, wake-ups over sockets, and nothing else.

What no parameter server on this machine can be much faster than: two workers fill their gradients and say so with one
byte; a third process adds them up, a run of values at a time, takes an SGD step on the weights in place and answers.
"""

import mmap
import os
import socket
import time
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from benchmarks.child import Child, ask_all, kernel_settings

RATE = np.float32(0.01)
RUN = 65_536  # values at a time
WAKE = b"!"


class Probe:
    """Its processes and their memory."""

    def __init__(self, parameters: int, workers: int) -> None:
        weights, *gradients = (_memory(parameters) for _ in range(workers + 1))
        pairs = [socket.socketpair() for _ in range(workers)]
        ends = [near.fileno() for near, _ in pairs]
        self._server = Child(
            serve, parameters, weights, gradients, ends, settings=kernel_settings(), fds=[weights, *gradients, *ends]
        )
        self._workers = [
            Child(
                work,
                parameters,
                weights,
                own,
                far.fileno(),
                settings=kernel_settings(),
                fds=[weights, own, far.fileno()],
            )
            for own, (_, far) in zip(gradients, pairs, strict=True)
        ]
        for descriptor in (weights, *gradients):
            os.close(descriptor)
        for pair in pairs:
            for end in pair:
                end.close()

    def run(self, steps: int) -> list[float]:
        """When steps ended, in seconds, as the first worker saw it."""
        times: list[float] = ask_all(self._workers, steps)[0]
        return times

    def close(self) -> None:
        """End it: the server ends when its workers have gone."""
        for child in (*self._workers, self._server):
            child.close()


def work(connection: Connection, parameters: int, weights: int, gradient: int, wire: int) -> None:
    """A worker: blocks of steps as they are asked for."""
    mine, shared = _values(gradient, parameters), _values(weights, parameters)
    sock = socket.socket(fileno=wire)
    while (steps := connection.recv()) is not None:
        times = []
        for _ in range(steps):
            mine.fill(1.0)
            sock.sendall(WAKE)
            sock.recv(1)
            times.append(time.perf_counter())
        assert np.isfinite(shared[0]), "weights are there to be read"
        connection.send(times)


def serve(connection: Connection, parameters: int, weights: int, gradients: list[int], wires: list[int]) -> None:
    """The server: a step whenever all workers have said that they are done."""
    w = _values(weights, parameters)
    pushed = [_values(one, parameters) for one in gradients]
    socks = [socket.socket(fileno=wire) for wire in wires]
    room = np.empty(RUN, np.float32)
    while all(sock.recv(1) for sock in socks):
        for start in range(0, parameters, RUN):
            _update(w[start : start + RUN], [one[start : start + RUN] for one in pushed], room)
        for sock in socks:
            sock.sendall(WAKE)
    connection.recv()


def _update(w: NDArray[np.float32], gradients: list[NDArray[np.float32]], room: NDArray[np.float32]) -> None:
    total = room[: len(w)]
    np.add(gradients[0], gradients[1], out=total) if len(gradients) > 1 else np.copyto(total, gradients[0])
    for gradient in gradients[2:]:
        total += gradient
    total *= RATE
    w -= total


def _memory(parameters: int) -> int:
    descriptor = os.memfd_create("distprop-probe")
    os.ftruncate(descriptor, 4 * parameters)
    return descriptor


def _values(descriptor: int, parameters: int) -> NDArray[np.float32]:
    return np.frombuffer(mmap.mmap(descriptor, 4 * parameters), np.float32)
