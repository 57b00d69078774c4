"""Pictures of a run, drawn without a screen: learning curves, confusion matrix, predicted against actual, ROC curve."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CURVES_FILE = "1_learning_curves.png"
CONFUSION_FILE = "2_confusion_matrix_{split}.png"
SCATTER_FILE = "2_predicted_against_actual_{split}.png"
BINARY_FILE = "3_roc_and_calibration_{split}.png"
LAYERS_FILE = "4_layers.png"
"""Names begin with numbers: MLflow lists artifacts by name."""

CONTENTS = "1 learning curves, 2 predictions against the truth, 3 ROC and calibration of two classes, 4 layers"
MOST_PANELS = 6
MOST_NAMED_CLASSES = 30

History = Mapping[str, Sequence[tuple[int, float]]]


def draw_curves(history: History, path: Path) -> Path | None:
    """One panel a metric, training and validation in it; history: "train/loss" -> (step, value) pairs.

    None where there is nothing to draw.
    """
    kinds = sorted({name.split("/", 1)[1] for name in history}, key=lambda kind: (kind != "loss", kind))[:MOST_PANELS]
    if not kinds:
        return None
    figure = blank(5.0 * min(len(kinds), 3), 3.6 * math.ceil(len(kinds) / 3))
    for place, kind in enumerate(kinds, start=1):
        axes = figure.add_subplot(math.ceil(len(kinds) / 3), min(len(kinds), 3), place)
        for split, colour in (("train", "#4c78a8"), ("valid", "#f58518")):
            points = history.get(f"{split}/{kind}", ())
            if points:
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) < 30 else None
                axes.plot(steps, values, label=split, color=colour, marker=marker, markersize=3, linewidth=1.2)
        axes.set_xlabel("step")
        axes.set_ylabel(kind)
        axes.grid(alpha=0.3)
        axes.legend()
    return saved(figure, path)


def draw_counts(record: Mapping[str, Any], folder: Path) -> Path | None:
    """The picture that a record asks for, in `folder`; None for one that we do not know."""
    if record["picture"] == "confusion":
        path = folder / CONFUSION_FILE.format(split=record["split"])
        return draw_confusion(record["counts"], record["classes"], path, record["split"])
    if record["picture"] == "scatter":
        path = folder / SCATTER_FILE.format(split=record["split"])
        return draw_scatter(record["counts"], record["range"], path, record["split"])
    if record["picture"] == "binary":
        return draw_binary(record, folder / BINARY_FILE.format(split=record["split"]))
    return None


def draw_binary(record: Mapping[str, Any], path: Path) -> Path:
    """Two classes: the ROC curve with the operating point, and shares of positive rows against probabilities.

    roc: (1 - specificity, sensitivity) pairs; calibration: (mean probability, share, weight); point: (threshold,
    sensitivity, specificity).
    """
    figure = blank(10.0, 4.6)
    threshold, sensitivity, specificity = record["point"]
    axes = figure.add_subplot(1, 2, 1)
    axes.plot(*zip(*record["roc"], strict=True), color="#4c78a8")
    label = f"from {threshold:.3f} on: sensitivity {sensitivity:.3f}, specificity {specificity:.3f}"
    axes.plot([1.0 - specificity], [sensitivity], "o", color="#f58518", label=label)
    _square(axes, f"{record['split']}: ROC curve", "1 - specificity", "sensitivity")
    axes = figure.add_subplot(1, 2, 2)
    means, shares, weights = zip(*record["calibration"], strict=True)
    most = max(weights)
    axes.plot(means, shares, color="#4c78a8")
    sizes = [20.0 + 180.0 * weight / most for weight in weights]
    axes.scatter(means, shares, s=sizes, color="#4c78a8", label="tenths of probability, larger with more rows")
    _square(axes, f"{record['split']}: calibration", "mean probability", "share that is positive")
    return saved(figure, path)


def _square(axes: Any, title: str, across: str, up: str) -> None:
    axes.plot([0.0, 1.0], [0.0, 1.0], color="grey", linewidth=0.8, linestyle="--")
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)


def draw_confusion(counts: Sequence[Sequence[float]], classes: Sequence[str], path: Path, split: str) -> Path:
    """Counts (K, K): [true][predicted] rows; coloured by the share of the true class."""
    size = min(14.0, 3.0 + 0.45 * len(counts))
    figure = blank(size + 1.0, size)
    axes = figure.add_subplot()
    shares = [[count / max(sum(row), 1.0) for count in row] for row in counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the true class")
    axes.set_title(f"{split}: {_right(counts):.2%} right")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(counts) <= MOST_NAMED_CLASSES:
        names = list(classes) or [str(place) for place in range(len(counts))]
        axes.set_xticks(range(len(counts)), names, rotation=90)
        axes.set_yticks(range(len(counts)), names)
        _write_counts(axes, counts, shares)
    return saved(figure, path)


def draw_scatter(counts: Sequence[Sequence[float]], span: Sequence[float], path: Path, split: str) -> Path:
    """Counts (bins, bins): [actual][predicted] rows; span: the lowest and highest value, cut evenly by the bins."""
    low, high = span
    figure = blank(6.0, 5.0)
    axes = figure.add_subplot()
    shown = [[math.log1p(counts[actual][guess]) for actual in range(len(counts))] for guess in range(len(counts))]
    image = axes.imshow(shown, cmap="viridis", origin="lower", extent=(low, high, low, high), aspect="auto")
    figure.colorbar(image, ax=axes, label="log(1 + rows)")
    axes.plot([low, high], [low, high], color="white", linewidth=0.8, linestyle="--")
    axes.set_title(f"{split}: predicted against actual")
    axes.set_xlabel("actual")
    axes.set_ylabel("predicted")
    return saved(figure, path)


def _write_counts(axes: Any, counts: Sequence[Sequence[float]], shares: Sequence[Sequence[float]]) -> None:
    for true, row in enumerate(counts):
        for predicted, count in enumerate(row):
            if count:
                colour = "white" if shares[true][predicted] > 0.5 else "black"
                axes.text(predicted, true, f"{count:g}", ha="center", va="center", fontsize=7, color=colour)


def _right(counts: Sequence[Sequence[float]]) -> float:
    rows = math.fsum(count for row in counts for count in row)
    return math.fsum(counts[place][place] for place in range(len(counts))) / max(rows, 1.0)


def blank(width: float, height: float) -> Any:
    """A figure of its own canvas: pyplot keeps global state and may want a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Any, path: Path) -> Path:
    """The path, where the figure is now."""
    figure.savefig(path, dpi=110)
    return path
