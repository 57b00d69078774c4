"""layers: forward + backward of one layer on one thread, distprop's and PyTorch's in turns."""

from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from benchmarks import ddp
from benchmarks.cases import Floats
from benchmarks.child import Child, kernel_settings, torch_settings
from benchmarks.figures import median, spread
from benchmarks.layer_cases import SINGLES, Single
from benchmarks.layer_sides import Block, Values, work_ours, work_theirs
from benchmarks.part import Report, Settings

AGREE = 1e-3
"""Largest difference, over the largest value: both sides add up in other orders."""
SECONDS = 0.6  # of a side's turn

COLUMNS = {
    "layer": "layer",
    "distprop_ms": "distprop ms",
    "distprop_spread": "±",
    "torch_ms": "PyTorch ms",
    "torch_spread": "±",
    "ratio": "ratio",
    "target": "target",
    "gap": "gap",
}

REMARKS = [
    "Forward and backward, gradients of weights and inputs, one thread; ms: the median pass, ±: half the distance of "
    "the quartiles, as a share of it. ratio: ours over PyTorch's, target: the largest that is aimed at.",
    "PyTorch has images in the layout that is quicker, channels first or last; attention with its fused kernel.",
    "gap: the largest difference of outputs and of input gradients, over their largest value, with the same weights.",
]


def measure(settings: Settings) -> list[Report]:
    """All layers."""
    report = Report("Layers: distprop and PyTorch", COLUMNS, remarks=[*REMARKS])
    missing = ddp.why_not()
    if missing:
        report.remarks.append(f"PyTorch was not measured: {missing}")
    for single in SINGLES:
        settings.say(f"layers: {single.name}")
        report.rows.append(_layer(single, settings, not missing))
    return [report]


def _layer(single: Single, settings: Settings, with_torch: bool) -> dict[str, Any]:
    found: dict[str, list[float]] = {"distprop": [], "torch": []}
    with ExitStack() as stack:
        sides = {"distprop": stack.enter_context(closing(Child(work_ours, single, settings=kernel_settings())))}
        if with_torch:
            sides["torch"] = stack.enter_context(closing(Child(work_theirs, single, settings=torch_settings())))
        gap = agreed(single, *(side.ask(Values()) for side in sides.values()))
        for turn in range(2 * settings.rounds):
            for name in sorted(sides, reverse=bool(turn % 2)):
                found[name] += sides[name].ask(Block(SECONDS / (6 if settings.quick else 1)))
    return _row(single, found) | {"gap": gap}


def agreed(single: Single, ours: tuple[Floats, Floats], theirs: tuple[Floats, Floats] | None = None) -> float | None:
    """How far outputs and input gradients lie apart. Raises RuntimeError where that is another layer."""
    if theirs is None:
        return None
    gap = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs, strict=True))
    if not gap < AGREE:
        raise RuntimeError(f"{single.name}: distprop and PyTorch differ by {gap:.2g}: they compute something else")
    return gap


def _row(single: Single, found: dict[str, list[float]]) -> dict[str, Any]:
    ours, theirs = median(found["distprop"]), median(found["torch"])
    return {
        "layer": single.name,
        "kind": single.kind,
        "rows": single.rows,
        "distprop_ms": ours,
        "distprop_spread": spread(found["distprop"]),
        "torch_ms": theirs,
        "torch_spread": spread(found["torch"]),
        "ratio": ours / theirs,
        "target": single.target,
    }
