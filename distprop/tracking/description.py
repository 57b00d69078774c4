"""A run's description, as MLflow shows it on top of its page: what was trained, and what came of it. Markdown."""

from collections.abc import Mapping

from distprop.events import RunEnded, RunStarted
from distprop.tracking.pictures import CONTENTS

DESCRIPTION = "mlflow.note.content"


def describe_start(event: RunStarted) -> str:
    """What is trained, on what, and for how long."""
    data = "; ".join(f"{used.rows:,} rows of {used.split}" for used in event.datasets)
    return (
        f"**{event.name}**: {event.parameters:,} parameters, {event.last_version:,} steps "
        f"({event.steps_per_epoch:,} an epoch){f'; {data}' if data else ''}."
    )


def describe_end(started: str, event: RunEnded, model_step: int | None, pictures: bool) -> str:
    """The start's description with how it ended, the final metrics, and which pictures there are, in order."""
    why = f": {event.why}" if event.why else ""
    lines = [started, "", f"{event.status.capitalize()} at step {event.version:,}{why}."]
    if model_step is not None:
        lines.append(f"The model is that of step {model_step:,}.")
    shown = _table(event.metrics)
    if shown:
        lines += ["", *shown]
    if pictures:
        lines += ["", f"Pictures, under Artifacts: {CONTENTS}."]
    return "\n".join(lines)


def _table(metrics: Mapping[str, float]) -> list[str]:
    """Test metrics first, as they tell most; then validation, then training."""
    order = ("test/", "valid/", "train/")
    named = [(name, value) for split in order for name, value in sorted(metrics.items()) if name.startswith(split)]
    if not named:
        return []
    return ["| metric | value |", "|---|---|", *(f"| {name} | {value:.6g} |" for name, value in named)]
