"""The public door: checks the process' arithmetic, and trains here or in a process whose arithmetic is in order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distprop.checkpoint import Checkpoint, newest, open_checkpoint
from distprop.config import Job, load_job, parse_job
from distprop.errors import CheckpointError
from distprop.events import Listener
from distprop.files import Folder
from distprop.numerics.kernel import environment, in_force
from distprop.report import Result
from distprop.system_errors import refusals
from distprop.training.placing import callers_ray
from distprop.training.request import Request, Resume
from distprop.training.several import newest as newest_of_starts
from distprop.trust import require_trusted


def train(
    job: str | Path | Mapping[str, Any] | Job,
    *,
    workers: int | None = None,
    servers: int | None = None,
    address: str | None = None,
    inline: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    data: Any = None,
    listeners: Sequence[Listener] = (),
    run_key: str | None = None,
    resume: Resume = "never",
    dry_run: bool = False,
    profile: bool = False,
) -> Result:
    """Train a job: a config's path, a mapping with its keys, or a Job.

    workers, servers, address: where it runs; none of them changes the numbers. Where this process has called
    ray.init(), the job runs on that Ray and leaves it up, unless an address is given. inline: in this one process.
    data: rows in memory, {"train": frame, table, columns or (X, y), "valid": ...};
    (X, y, sample_weight) weighs rows, X may be sparse. listeners: called with each event
    (distprop.events); one may raise Stop. run_key, resume: see `distprop train --help`.
    profile: keep a timeline of all processes as a Chrome trace, in the run and beside the checkpoints.
    Raises UserError where the input is wrong, TrainingError where training failed.
    """
    loaded = load_job(job, overrides, in_memory=data is not None)
    request = Request(
        loaded, workers, servers, address, inline, data, run_key, resume, dry_run=dry_run, profile=profile
    )
    return _run(request, listeners)


def resume(
    run: str | Path,
    *,
    workers: int | None = None,
    servers: int | None = None,
    address: str | None = None,
    inline: bool = False,
    listeners: Sequence[Listener] = (),
    trust: Sequence[str] = (),
) -> Result:
    """Go on with a training from its newest checkpoint. run: an MLflow run's id, or a checkpoint's path.

    trust: modules whose functions the checkpoint's job may run, such as those of your own layers.
    Raises CheckpointError where there is nothing to go on from, TrustError where it names a function of another module.
    """
    saved = find_checkpoint(str(run))
    job = _job(saved)
    require_trusted(job.model, saved.path, trust)
    request = Request(job, workers, servers, address, inline, checkpoint=saved.path)
    return _run(request, listeners)


def job_of(run: str) -> Job:
    """The job that a run or checkpoint belongs to. Raises CheckpointError."""
    return _job(find_checkpoint(run))


def find_checkpoint(run: str) -> Checkpoint:
    """The newest checkpoint of a run, given by its id or by the path of it, its folder or one version."""
    with refusals(f"the checkpoint {run} cannot be read"):
        return _found(run)


def _found(run: str) -> Checkpoint:
    folder = Folder(run)
    if folder.has("manifest.json"):
        return open_checkpoint(folder.path)
    place = folder.path if folder.folders() else _folder_of_run(run)
    found = newest(place) or newest_of_starts(place)
    if found is None:
        raise CheckpointError(
            f"{run} has no whole checkpoint",
            "it ended before the first one was written, or they were deleted",
            "train it anew; `checkpoint.every` says how often one is written",
        )
    return found


def _folder_of_run(run_id: str) -> str:
    from importlib.util import find_spec

    if "/" in run_id or find_spec("mlflow") is None:
        raise CheckpointError(
            f"{run_id} is neither a checkpoint nor a run",
            "there is no such folder",
            "name a run id that `distprop list` shows, or a folder under `checkpoint.dir`",
        )
    from distprop.tracking.address import resolve_uri
    from distprop.tracking.runs import find

    stored = find(run_id, resolve_uri(None).uri)
    return stored.checkpoint or ""


def _job(saved: Checkpoint) -> Job:
    return parse_job(saved.manifest.config, origin=saved.path)


def _run(request: Request, listeners: Sequence[Listener]) -> Result:
    request = replace(request, running=callers_ray(request.inline))
    if in_force(environment(request.job.numerics.blas_kernel)):
        from distprop.training.running import run

        return run(request, listeners)
    from distprop.training.child import run_in_child

    return run_in_child(request, listeners)
