"""What several starts of one job are: their seeds, what compares them, and what they leave in their folder.

FOLDER/starts.json        the run of all of them
FOLDER/result.json        how they ended, once all have
FOLDER/start-0/           checkpoints and model of the first; begun.json: its run; ended.json: how it ended
FOLDER/start-1/           ...
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distprop import checkpoint, philox
from distprop.config import Job
from distprop.errors import CheckpointError, DivergedError, TrainingError
from distprop.files import Folder
from distprop.nn.metrics import lower_is_better
from distprop.report import Start
from distprop.training.carrying import Task, nothing_to_resume
from distprop.training.request import Request

STARTS = 8  # the purpose of these random words, see philox.bits
ALL, PREFIX = "starts.json", "start-"


def seed_of(seed: int, start: int) -> int:
    """The seed of a start: the first one has the job's own."""
    return int(philox.bits(seed, STARTS, (start, 0, 0), 1)[0]) if start else seed


def task_of(task: Task, start: int) -> Task:
    """One start of a job, as a training of its own. Which rows are held out does not change: all see the same."""
    assembly, job = task.assembly, task.assembly.job
    seed, name = seed_of(job.seed, start), f"{job.tracking.run_name or job.name}-{PREFIX}{start}"
    once, tracking = job.train.model_copy(update={"starts": 1}), job.tracking.model_copy(update={"run_name": name})
    job = job.model_copy(update={"seed": seed, "train": once, "tracking": tracking})
    blueprint = replace(assembly.blueprint, seed=seed, dataset=replace(assembly.dataset, seed=seed))
    fingerprint = replace(task.fingerprint, recipe=job.recipe_hash())
    folder, tags = f"{task.folder}/{PREFIX}{start}", {"distprop.start": str(start)}
    return Task(replace(assembly, job=job, blueprint=blueprint), fingerprint, folder, task.config, tags)


def compared_by(job: Job) -> str:
    """The metric that says which start is the best: what the job chooses versions by, else a loss."""
    stopping = job.train.early_stopping
    chosen = job.checkpoint.keep_best or (stopping.metric if stopping else None)
    return chosen or ("valid/loss" if job.data.valid is not None else "train/loss")


def best_of(rows: Sequence[Start], metric: str) -> Start | None:
    """The finished start with the best value, of equal ones the first; None where none has one that is a number."""
    sign = 1.0 if lower_is_better(metric.rpartition("/")[2]) else -1.0
    values = [(row, row.metrics.get(metric, math.nan)) for row in rows if row.status == "finished"]
    measured = [(row, sign * value) for row, value in values if not math.isnan(value)]
    return min(measured, key=lambda one: one[1])[0] if measured else None


def none_is_best(rows: Sequence[Start], metric: str) -> TrainingError:
    """Why none of the starts that have ended is kept."""
    if any(row.status == "finished" for row in rows):
        return TrainingError(
            f"`{metric}` says which start is the best, and is NaN in all of them",
            "data.valid has no rows, or one class where the metric tells classes apart, or outputs are not finite",
            "set `checkpoint.keep_best` to another metric, such as `valid/loss`, or correct data.valid",
        )
    return DivergedError(
        f"all {len(rows)} starts diverged",
        f"in the first one, {rows[0].why}",
        "lower the learning rate, set `optimizer.clip_norm: 1.0`, or standardize the features",
    )


def start_folders(folder: str) -> list[Folder]:
    """The folders of starts, the first one first."""
    names = [name for name in Folder(folder).folders() if name.startswith(PREFIX) and _number(name).isdigit()]
    return [Folder(folder).inner(name) for name in sorted(names, key=lambda name: int(_number(name)))]


def _number(name: str) -> str:
    return name.removeprefix(PREFIX)


def newest(folder: str) -> checkpoint.Checkpoint | None:
    """The newest whole checkpoint of the last start in `folder` that has one; None where there is none."""
    found = (checkpoint.newest(one.path) for one in reversed(start_folders(folder)))
    return next((one for one in found if one is not None), None)


def require_none(request: Request, folder: str) -> None:
    """Raise CheckpointError where a job that starts once would go on with what was started several times."""
    if request.checkpoint is None and request.resume != "never" and Folder(folder).has(ALL):
        raise _otherwise(folder, "has several starts of a job, and this job starts once")


def what_is_known(request: Request, task: Task) -> dict[str, Any]:
    """What starts.json says where there is something to go on with, else nothing. Raises CheckpointError."""
    if request.checkpoint is None and request.resume == "never":
        return {}
    kept = Folder(task.folder).read(ALL)
    if kept is None:
        return _known_without(request, task)
    known = _read(kept, task.folder)
    if known["recipe"] != task.fingerprint.recipe:
        raise CheckpointError(
            f"{task.folder} is of another recipe",
            "its model, data section, optimizer, seed, numerics or `train.starts` are not those of this job",
            "resume with the config it was made with, or start anew: another --run-key, or --resume never",
        )
    return known


def _read(kept: bytes, folder: str) -> dict[str, Any]:
    try:
        known = json.loads(kept)
        return {"recipe": known["recipe"], "run": known.get("run")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{ALL} in {folder} cannot be read",
            f"{type(error).__name__}: {error}",
            "delete it: the starts go on without it, in a run of their own",
        ) from error


def _known_without(request: Request, task: Task) -> dict[str, Any]:
    """The same where there is no starts.json: checkpoints that were copied without it are gone on with, too."""
    if start_folders(task.folder):
        return {"recipe": task.fingerprint.recipe}
    if checkpoint.versions(task.folder):
        raise _otherwise(task.folder, "has checkpoints of a job that starts once")
    if request.resume == "must":
        raise nothing_to_resume(request, task.folder)
    return {}


def _otherwise(folder: str, why: str) -> CheckpointError:
    return CheckpointError(
        f"{folder} was made with another `train.starts`",
        f"it {why}",
        "set `train.starts` to what it was, or start anew: another --run-key, or --resume never",
    )
