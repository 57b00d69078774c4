"""One picture of all layers over a run: how long gradients are, how long updates, what is dead or saturated."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distprop.tracking.naming import LAYERS
from distprop.tracking.pictures import History, blank, saved

KINDS = (f"{LAYERS}gradient_norm/", f"{LAYERS}update_ratio/", f"{LAYERS}dead/", f"{LAYERS}saturated/")
TITLES = dict(
    zip(
        KINDS,
        (
            "length of the gradient",
            "length of an update, in lengths of the weights",
            "share of units that are dead",
            "share of outputs that are saturated",
        ),
        strict=True,
    )
)
MOST_LINES = 12
"""Layers up to which each has a line; more of them are rows of a map."""


def draw_layers(history: History, path: Path) -> Path | None:
    """One panel a kind of figure; history: metric -> (step, value) pairs. None where it is empty."""
    panels = {kind: _of_kind(history, kind) for kind in KINDS}
    panels = {kind: layers for kind, layers in panels.items() if layers}
    if not panels:
        return None
    rows = math.ceil(len(panels) / 2)
    drawing = blank(7.0 * min(len(panels), 2), 4.2 * rows)
    for place, (kind, layers) in enumerate(panels.items(), start=1):
        axes = drawing.add_subplot(rows, min(len(panels), 2), place)
        share = kind in KINDS[2:]
        (_lines if len(layers) <= MOST_LINES else _map)(axes, layers, share)
        axes.set_title(TITLES[kind])
        axes.set_xlabel("step")
    return saved(drawing, path)


def _of_kind(history: History, kind: str) -> dict[str, Sequence[tuple[int, float]]]:
    """The layers of one kind in the order of the network; without what cannot be drawn."""
    found = {name.removeprefix(kind): points for name, points in history.items() if name.startswith(kind)}
    finite = {name: [one for one in points if math.isfinite(one[1])] for name, points in found.items()}
    return {name: finite[name] for name in sorted(finite, key=_in_order) if finite[name]}


def _in_order(name: str) -> list[tuple[int, str]]:
    """10.dense comes behind 2.dense."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _lines(axes: Any, layers: Mapping[str, Sequence[tuple[int, float]]], share: bool) -> None:
    for name, points in layers.items():
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, label=name, marker="o" if len(points) < 30 else None, markersize=3, linewidth=1.2)
    if share:
        axes.set_ylim(-0.02, 1.02)
    elif any(value > 0 for points in layers.values() for _, value in points):
        axes.set_yscale("log", nonpositive="mask")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)


def _map(axes: Any, layers: Mapping[str, Sequence[tuple[int, float]]], share: bool) -> None:
    """Layers as rows, steps across; lengths by their magnitude."""
    steps = sorted({step for points in layers.values() for step, _ in points})
    known = [dict(points) for points in layers.values()]
    values = [[_shade(one.get(step, math.nan), share) for step in steps] for one in known]
    image = axes.imshow(values, aspect="auto", cmap="viridis", interpolation="nearest", **_span(share))
    axes.figure.colorbar(image, ax=axes, label="share" if share else "log10")
    marked = range(0, len(layers), max(1, len(layers) // 20))
    axes.set_yticks(list(marked), [list(layers)[place] for place in marked], fontsize=7)
    across = range(0, len(steps), max(1, len(steps) // 6))
    axes.set_xticks(list(across), [str(steps[place]) for place in across])


def _shade(value: float, share: bool) -> float:
    if share:
        return value
    return math.log10(value) if value > 0 else math.nan


def _span(share: bool) -> dict[str, float]:
    return {"vmin": 0.0, "vmax": 1.0} if share else {}
