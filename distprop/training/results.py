"""The result of a training: made at its end, kept beside its checkpoints, found again by a retry."""

import json
import logging
from dataclasses import asdict, dataclass

from distprop import checkpoint
from distprop.files import Folder
from distprop.report import Result, Start
from distprop.runtime.session import Cluster
from distprop.training.assembling import Assembly
from distprop.training.conducting import Outcome
from distprop.training.diagnosing import Doctor
from distprop.training.placing import Placement
from distprop.training.recording import Kept
from distprop.training.starting import StartingPoint

RESULT = "result.json"


@dataclass(frozen=True)
class Ended:
    """How a training ended, and what it left."""

    outcome: Outcome
    model: str | None  # folder
    digest: str | None
    folder: str
    seconds: float
    doctor: Doctor


def make(assembly: Assembly, placement: Placement, cluster: Cluster, kept: Kept, ended: Ended) -> Result:
    """The result as callers and `--json` get it."""
    outcome = ended.outcome
    written = _versions(ended.folder)
    return Result(
        run_id=kept.run_id,
        status=outcome.status,
        steps=outcome.version,
        epochs=outcome.version / assembly.course.steps_per_epoch,
        metrics=dict(sorted(outcome.metrics.items())),
        digest=ended.digest,
        model_uri=kept.model_uri or ended.model,
        workers=cluster.workers,
        servers=cluster.servers,
        seconds=ended.seconds,
        rows_per_second=outcome.rows / outcome.seconds if outcome.seconds else 0.0,
        tracking_uri=kept.tracking_uri,
        address_source=placement.source,
        checkpoint=written[0] if written else None,
        spooled=kept.spooled,
        spool=kept.spool,
        tracking_gap=kept.gap,
        time_shares=outcome.timeline.shares(),
        layer_shares=outcome.timeline.layer_shares(),
        noise_scale=ended.doctor.noise_scale,
        warnings=tuple(one.what for one in ended.doctor.warned),
    )


def _versions(folder: str) -> list[str]:
    """The checkpoints that are there; a training that has finished does not fail because they cannot be counted."""
    try:
        return checkpoint.versions(folder)
    except OSError as error:
        logging.getLogger("distprop").warning("the checkpoints in %s cannot be listed: %s", folder, error)
        return []


def planned(placement: Placement, cluster: Cluster, start: StartingPoint) -> Result:
    """The result of a dry run: nothing was trained."""
    return Result(
        run_id=start.run_id,
        status="finished",
        steps=0,
        epochs=0.0,
        metrics={},
        digest=None,
        model_uri=None,
        workers=cluster.workers,
        servers=cluster.servers,
        seconds=0.0,
        rows_per_second=0.0,
        address_source=placement.source,
        checkpoint=start.path,
    )


def store(folder: str, result: Result) -> None:
    """Keep the result of a finished training, for a retry; one that cannot be written is made again."""
    try:
        Folder(folder).write(RESULT, json.dumps(asdict(result)).encode())
    except OSError as error:
        logging.getLogger("distprop").warning("%s cannot be written into %s: %s", RESULT, folder, error)


def load(folder: str) -> Result | None:
    """The result of a training that has finished; None where none was kept, or it cannot be read: it is made again."""
    kept = Folder(folder).read(RESULT)
    if kept is None:
        return None
    try:
        stored = json.loads(kept)
        starts = tuple(Start(**one) for one in stored.pop("starts", ()))
        return Result(**{**stored, "warnings": tuple(stored.get("warnings", ())), "starts": starts})
    except (ValueError, TypeError, AttributeError) as error:
        logging.getLogger("distprop").warning("%s in %s cannot be read, and is made again: %s", RESULT, folder, error)
        return None
