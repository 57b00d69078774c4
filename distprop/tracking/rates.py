"""The picture of a test of learning rates."""

from collections.abc import Sequence
from pathlib import Path

from distprop.tracking.pictures import blank, saved


def draw_rates(rates: Sequence[float], losses: Sequence[float], suggestion: float | None, path: Path) -> Path:
    """The smoothed loss against the rate, on a logarithmic scale, with the suggested rate marked."""
    drawing = blank(7.0, 4.2)
    axes = drawing.add_subplot()
    axes.plot(rates, losses, color="#4c78a8")
    if suggestion is not None:
        axes.axvline(suggestion, color="#f58518", linestyle="--", label=f"falls fastest: {suggestion:.1e}")
        axes.legend()
    axes.set_xscale("log")
    least, first = min(losses), losses[0]
    axes.set_ylim(least - 0.1 * abs(first - least), first + 1.5 * max(abs(first - least), 1e-9))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss, smoothed")
    axes.grid(alpha=0.3)
    return saved(drawing, path)
