"""The canary: a fixed leaf, reduction and update. Two processes with the same digest of it compute alike."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import build_loss
from distprop.nn.metrics import build_metrics
from distprop.nn.network import build_network
from distprop.optim.norms import block_square_sums, global_norm
from distprop.optim.optimizers import build_optimizer
from distprop.optim.transforms import Moment
from distprop.philox import bits, uniform

ROWS = (7, 32, 129)  # odd ones too: kernels treat edges differently
LAYERS: list[Any] = [{"dense": 96}, "gelu", {"dense": 33}, "tanh", {"dropout": 0.25}, {"dense": 5}]
PURPOSE = 0


def canary() -> str:
    """The digest of the fixed computation; 64 hexadecimal digits."""
    network, loss = build_network(LAYERS, (61,)), build_loss("softmax_cross_entropy")
    computer = LeafComputer(network, loss, build_metrics(None, loss.task), seed=1)
    weights, found = np.empty(network.arena.size, np.float32), hashlib.sha256()
    network.init(1, weights)
    total = np.zeros_like(weights)
    for shard, rows in enumerate(ROWS):
        gradient = np.empty_like(weights)
        x, y = _draw(rows, 61, shard), bits(3, PURPOSE, (shard, 0, 0), rows).astype(np.int64) % 5
        found.update(computer.gradient(weights, x, np.abs(y), None, 3, shard, gradient).tobytes())
        np.add(total, gradient, out=total)
    found.update(total.tobytes())
    found.update(_update(network.arena.blocks, weights, total).tobytes())
    found.update((_draw(9, 4, 9) * np.float32(1e-9) * np.float32(1e-30)).tobytes())  # denormals, not flushed
    return found.hexdigest()


def _draw(rows: int, width: int, shard: int) -> NDArray[np.float32]:
    words = bits(2, PURPOSE, (shard, 0, 0), rows * width)
    return (uniform(words) * 4 - 2).astype(np.float32).reshape(rows, width)


def _update(blocks: Any, weights: NDArray[np.float32], gradient: NDArray[np.float32]) -> NDArray[np.float32]:
    optimizer = build_optimizer("adamw", {"learning_rate": 0.01}, None, 10)
    old = {name: np.zeros_like(weights) for name in optimizer.state_names}
    new = {name: np.empty_like(weights) for name in optimizer.state_names}
    scale = global_norm(block_square_sums(gradient, blocks).tolist())
    gradient /= np.float32(scale)
    out = np.empty_like(weights)
    optimizer.update(weights, gradient, old, out, new, Moment(0, optimizer.rate(0)))
    return out
