"""What the block sums that travel with a step say of its layers: lengths, ratios, noise, and where it broke."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.nn.arena import Arena
from distprop.nn.tail import SQUARES, WEIGHT, Tail
from distprop.optim.groups import Group
from distprop.optim.norms import global_norm

Sums = NDArray[np.float64]


class Noise(NamedTuple):
    """Estimates of one step: the variance that single rows' gradients have, and the squared length of the true one.

    Both are unbiased, so a single one may be negative: they are averaged over steps before they are divided.
    """

    variance: float
    square: float


def gathered(sums: Mapping[int, Any]) -> Sums:
    """The sums of all slices (rows, blocks), in the order of blocks."""
    whole: Sums = np.concatenate([sums[piece] for piece in sorted(sums)], axis=1)
    return whole


def length(sums: Mapping[int, Any]) -> float:
    """The length of the mean gradient."""
    return global_norm([value for piece in sorted(sums) for value in sums[piece][0].tolist()])


def layer_of(view: str) -> str:
    """The layer that a view belongs to: "0.dense" of "0.dense.W"."""
    return view.rpartition(".")[0]


def lengths(arena: Arena, groups: Sequence[Group], row: Sums) -> dict[str, float]:
    """The length of each layer's part of a row of sums (blocks,); what is frozen, or no parameter, is left out."""
    parts: dict[str, list[float]] = {}
    for view, (slot, group) in enumerate(zip(arena.slots, groups, strict=True)):
        if not group.frozen and not group.follows:
            parts.setdefault(layer_of(slot.name), []).extend(row[arena.view_blocks(view)].tolist())
    ordered = sorted(parts, key=lambda layer: int(layer.partition(".")[0]))  # tables come last in the arena
    return {layer: global_norm(parts[layer]) for layer in ordered}


def ratios(arena: Arena, groups: Sequence[Group], rows: Sums) -> dict[str, float]:
    """How long each layer's update is, in lengths of its weights; none for weights of 0. rows: (3, blocks)."""
    weights, updates = (lengths(arena, groups, row) for row in rows[1:3])
    return {layer: updates[layer] / weight for layer, weight in weights.items() if weight}


def noise(tail: Tail, leaves: int, square: float) -> Noise | None:
    """The noise of a step's gradient, from leaves of any sizes (McCandlish et al. 2018, arXiv:1812.06162, A.1).

    A mean over b rows has the expected square |G|^2 + S / b; so W |mean|^2 has W |G|^2 + S, and the sum over n leaves
    of w |leaf's mean|^2, which their tails carry, has W |G|^2 + n S. None for one leaf.
    """
    weight, total = float(tail[WEIGHT]), float(tail[SQUARES])
    if leaves < 2 or not weight or not math.isfinite(total + square):
        return None
    variance = (total - weight * square) / (leaves - 1)
    return Noise(variance, square - variance / weight)


def broken(step: int, now: Mapping[str, float], before: Mapping[str, float]) -> str:
    """Which layer broke first, when the loss of `step` is not finite; from the lengths then and the step before.

    Backpropagation goes from the last layer to the first: of layers that have no finite gradient the last was first.
    """
    for at, norms in ((step - 1, before), (step, now)):
        lost = [layer for layer, norm in norms.items() if not math.isfinite(norm)]
        if lost and (at < step or len(lost) < len(norms)):
            return f"layer {lost[-1]} broke first: its gradient was not finite in step {at}"
    if not before:
        return "there was no step before it: the features or the initial weights have extreme values"
    layer = max(before, key=lambda name: before[name])
    return f"layer {layer} broke first: in step {step - 1} it had the longest gradient of all, {before[layer]:.3g}"
