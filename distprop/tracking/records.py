"""Events as records of a spool: what a run shall show, in the order it happened. Pure: no clock, no disk, no server."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from distprop.events import (
    Checkpointed,
    CheckpointFailed,
    DatasetUsed,
    Diagnosed,
    EpochEnded,
    Evaluated,
    Event,
    HostSampled,
    ModelSaved,
    ProfileTaken,
    RunEnded,
    RunStarted,
    ServerLost,
    StartEnded,
    StepEnded,
    Warned,
    WorkerLost,
)
from distprop.tracking.comparing import comparison
from distprop.tracking.curves import Curves, Timings, points, window
from distprop.tracking.description import DESCRIPTION, describe_end, describe_start
from distprop.tracking.measured import Measured
from distprop.tracking.naming import FAULTS, LAYERS, MOST_DIGEST, MOST_PARAM, MOST_TAG, cut, legal_name, portions
from distprop.tracking.spool import Record

MLFLOW_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
PARAMS_A_REQUEST = 100
CONFIG_FILE = "job.yaml"
TIMELINE_FILE = "timeline.json"
WARNINGS_FILE = "warnings.txt"
STARTS_FILE = "starts.csv"
COUNTED = {
    WorkerLost: f"{FAULTS}workers_lost",
    ServerLost: f"{FAULTS}servers_lost",
    CheckpointFailed: f"{FAULTS}checkpoints_failed",
}


class Recorder:
    """Turns a job's events into records. Remembers the version, what was measured, and the receipts.

    origin: tags that say which code makes the run.
    """

    def __init__(self, origin: Mapping[str, str] | None = None) -> None:
        self._origin = dict(origin or {})
        self._version = 0
        self._model_step: int | None = None
        self._description = ""
        self._curves, self._timings = Curves(1), Timings()
        self._measured = Measured()
        self._counts: Counter[str] = Counter()
        self._receipts: Counter[str] = Counter()
        self._picture: Evaluated | None = None
        self._layers = False  # whether there is anything to draw of them
        self._warnings: list[str] = []
        self._starts: list[StartEnded] = []

    def records(self, event: Event) -> list[Record]:
        """What to record of this event; none for an event of a kind that we do not know."""
        self._version = max(self._version, getattr(event, "version", 0))
        match event:
            case RunStarted():
                made = self._started(event)
            case StepEnded():
                made = self._curves.add(event) + self._timings.add(event)
            case EpochEnded():
                made = self._epoch(event)
            case Evaluated():
                made = self._evaluated(event)
            case HostSampled():
                figures = {f"system/{event.host}/{name}": value for name, value in event.figures.items()}
                made = [points(self._version, event.time, figures)]
            case Checkpointed():
                at = {"distprop.last_checkpoint": event.path, "distprop.last_checkpoint_step": str(event.version)}
                made = [tags(at)]
            case ModelSaved():
                self._model_step = event.version
                made = [_model(event), tags({"distprop.digest": event.digest})]
            case Diagnosed() | Warned() | ProfileTaken():
                made = self._looked_closely(event)
            case StartEnded() | RunEnded():
                made = self._start_ended(event) if isinstance(event, StartEnded) else self._ended(event)
            case _:
                made = self._counted(event)
        self._remember(made)
        return made

    def _remember(self, made: list[Record]) -> None:
        for record in made:
            if record["kind"] == "points":
                self._measured.add(record["step"], record["time"], record["metrics"])

    def _started(self, event: RunStarted) -> list[Record]:
        self._curves = Curves(window(event.last_version))
        params = {legal_name(name): cut(str(value), MOST_PARAM) for name, value in event.params.items()}
        self._description = describe_start(event)
        about = {
            **self._origin,
            DESCRIPTION: self._description,
            "distprop.job": event.name,
            "distprop.workers": str(event.workers),
            "distprop.servers": str(event.servers),
            "distprop.parameters": str(event.parameters),
            "distprop.steps_per_epoch": str(event.steps_per_epoch),
            "distprop.last_version": str(event.last_version),
        }
        made: list[Record] = [{"kind": "params", "params": piece} for piece in portions(params, PARAMS_A_REQUEST)]
        made += [tags(piece) for piece in portions({**about, **event.tags}, PARAMS_A_REQUEST)]
        made.append({"kind": "text", "name": CONFIG_FILE, "text": event.config})
        if event.datasets:
            made.append({"kind": "inputs", "datasets": [_dataset(used) for used in event.datasets]})
        return made

    def _epoch(self, event: EpochEnded) -> list[Record]:
        """Every epoch of the same data has the same receipt: one tag says so, and any other one gets its own."""
        self._receipts[event.receipt] += 1
        first = next(iter(self._receipts))
        named = {"distprop.receipt": first, "distprop.epochs_proven": str(self._receipts[first])}
        if event.receipt != first:
            named[f"distprop.receipt.epoch_{event.epoch}"] = event.receipt
        done = {"epoch": float(event.epoch + 1), "epoch_rows": float(event.rows)}
        return [points(event.version, event.time, done, once="epoch"), tags(named)]

    def _evaluated(self, event: Evaluated) -> list[Record]:
        if (event.confusion or event.scatter) and _shows_more(event, self._picture):
            self._picture = event
        metrics = dict(event.metrics)
        if not metrics:
            return []
        return [points(event.version, event.time, metrics, once=legal_name(next(iter(metrics))))]

    def _looked_closely(self, event: Diagnosed | Warned | ProfileTaken) -> list[Record]:
        if isinstance(event, ProfileTaken):
            return [{"kind": "text", "name": TIMELINE_FILE, "text": event.trace}]
        return self._warned(event) if isinstance(event, Warned) else self._diagnosed(event)

    def _diagnosed(self, event: Diagnosed) -> list[Record]:
        figures = {f"{LAYERS}{name}" if "/" in name else name: value for name, value in event.figures.items()}
        if not figures:
            return []
        self._layers = True
        return [points(event.version, event.time, figures, once=legal_name(next(iter(figures))))]

    def _warned(self, event: Warned) -> list[Record]:
        self._warnings.append(f"step {event.version}, {event.kind}: {event.what}\n  {event.fix}\n")
        text: Record = {"kind": "text", "name": WARNINGS_FILE, "text": "".join(self._warnings)}
        return [tags({f"distprop.warning.{event.kind}": event.what}), text]

    def _counted(self, event: Event) -> list[Record]:
        name = COUNTED.get(type(event))
        if name is None:
            return []
        self._counts[name] += 1
        return [points(self._version, event.time, {name: float(self._counts[name])})]

    def _start_ended(self, event: StartEnded) -> list[Record]:
        """The value that starts are compared by, as a metric of its own, and the table of all that have ended."""
        self._starts.append(event)
        name, value = f"start/{event.start}/{event.compared_by}", event.metrics.get(event.compared_by)
        made = [points(event.version, event.time, {name: value}, once=legal_name(name))] if value is not None else []
        return [*made, {"kind": "text", "name": STARTS_FILE, "text": comparison(self._starts)}]

    def _ended(self, event: RunEnded) -> list[Record]:
        told = {
            "distprop.status": event.status,
            "distprop.why": event.why,
            "distprop.digest": event.digest or "",
            DESCRIPTION: describe_end(self._description, event, self._model_step, pictures=not self._starts),
        }
        named = {name: value for name, value in told.items() if value}
        made = self._curves.flush() + self._timings.flush()
        if self._starts and event.metrics:  # the best one's: the others' curves are in runs of their own
            made.append(points(event.version, event.time, dict(event.metrics)))
        self._remember(made)
        made += [tags(piece) for piece in portions({**named, **event.tags}, PARAMS_A_REQUEST)]
        made.append({"kind": "link", "points": self._of_the_model(event)})
        if not self._starts:
            made.append({"kind": "picture", "picture": "curves"})
        if self._layers:
            made.append({"kind": "picture", "picture": "layers"})
        if self._picture is not None:
            made.append(_picture(self._picture))
            made += _curves(self._picture)
        made.append(end(event.status, event.time))
        return made

    def _of_the_model(self, event: RunEnded) -> list[tuple[str, float, int, int]]:
        """The final metrics as the run has them at the model's own step, so that linking adds no point to the run."""
        step = event.version if self._model_step is None else self._model_step
        final = {legal_name(name): float(value) for name, value in event.metrics.items()}
        now, is_last = round(event.time * 1000), step == event.version
        found = (self._measured.at(name, value, step, now, is_last) for name, value in final.items())
        return [point for point in found if point is not None]


def tags(values: Mapping[str, str]) -> Record:
    """A record of tags; may be sent again, the last one counts."""
    return {
        "kind": "tags",
        "tags": {legal_name(name): cut(str(value), MOST_TAG) for name, value in values.items()},
    }


def end(status: str, time: float) -> Record:
    """The last record of a run."""
    return {"kind": "end", "status": MLFLOW_STATUS[status], "time": round(time * 1000)}


def _dataset(used: DatasetUsed) -> dict[str, Any]:
    return {
        "split": used.split,
        "name": used.name,
        "source": used.source,
        "digest": used.digest[:MOST_DIGEST],
        "rows": used.rows,
        "columns": dict(used.columns),
    }


def _model(event: ModelSaved) -> Record:
    return {"kind": "model", "folder": event.path, "version": event.version, "digest": event.digest}


def _shows_more(event: Evaluated, than: Evaluated | None) -> bool:
    """The test split tells most; of the others the best evaluation, else the last."""
    if than is None or event.split == "test":
        return True
    return than.split != "test" and (event.best or not than.best)


def _curves(event: Evaluated) -> list[Record]:
    if event.curves is None:
        return []
    return [{"kind": "picture", "picture": "binary", "split": event.split, **asdict(event.curves)}]


def _picture(event: Evaluated) -> Record:
    if event.confusion is not None:
        rows = [list(row) for row in event.confusion]
        return {
            "kind": "picture",
            "picture": "confusion",
            "split": event.split,
            "counts": rows,
            "classes": list(event.classes),
        }
    counts = [list(row) for row in event.scatter or ()]
    return {
        "kind": "picture",
        "picture": "scatter",
        "split": event.split,
        "counts": counts,
        "range": list(event.scatter_range or (0.0, float(len(counts)))),
    }
