"""From a request to its result, in this process, whose arithmetic is in order."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from distprop import events
from distprop.config import expand
from distprop.config.file_names import unfit
from distprop.errors import ConfigError
from distprop.numerics.fingerprint import take_fingerprint
from distprop.numerics.kernel import choose, cpu_features
from distprop.numerics.verify import verify_kernel
from distprop.report import Result
from distprop.system_errors import refusals
from distprop.training import results, several, starts
from distprop.training.assembling import assemble
from distprop.training.carrying import Ground, Task, Training, connected, find_start
from distprop.training.clusters import connect, survey_map
from distprop.training.conducting import new_name
from distprop.training.handing import rows_in_files
from distprop.training.interrupting import Interrupts
from distprop.training.memory_need import require_memory
from distprop.training.placing import place
from distprop.training.recording import open_recording, preflight
from distprop.training.rehearsing import require_possible
from distprop.training.request import Request
from distprop.training.run_lock import held


def run(request: Request, listeners: Sequence[events.Listener] = ()) -> Result:
    """Train as asked. Raises UserError before anything starts where possible, TrainingError where training failed."""
    began = time.time()
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        request = stack.enter_context(rows_in_files(request))
        job, folder = request.job, _folder(request)
        if not request.dry_run:
            stack.enter_context(held(folder))
        kernel = choose(job.numerics.blas_kernel, cpu_features())
        verify_kernel(kernel)
        placement = place(job, request.workers, request.servers, request.address, request.inline, request.running)
        require_possible(job.faults, placement.inline)
        preflight(job)
        connection = connect(placement) if placement.address is not None else None
        stack.callback(_close, connection)
        assembly = assemble(job, survey_map(connection, placement, kernel))
        require_memory(assembly, placement)
        fingerprint = take_fingerprint(assembly.job.recipe_hash(), assembly.dataset.digest, kernel)
        tags = {"distprop.run_key": request.run_key} if request.run_key else {}
        task = Task(assembly, fingerprint, folder, assembly.job.to_yaml(), tags)
        ground = Ground(request, placement, connection, interrupts, kernel, began)
        return starts.run(ground, task, listeners) if job.train.starts > 1 else _run_one(ground, task, listeners)


def _run_one(ground: Ground, task: Task, listeners: Sequence[events.Listener]) -> Result:
    """The training of a job that starts once."""
    with refusals(f"the checkpoints in {task.folder} cannot be read"):
        several.require_none(ground.request, task.folder)
        start = find_start(ground.request, task)
    if start.finished and (earlier := results.load(task.folder)) is not None:
        return earlier
    with ExitStack() as stack:
        ground = connected(ground, stack)
        cluster = task.cluster(ground, stack)
        if ground.request.dry_run:
            return results.planned(ground.placement, cluster, start)
        recording = stack.enter_context(open_recording(task.assembly.job, task.folder, start.run_id))
        return Training(task, ground, cluster, recording).run(start, listeners)


def _close(connection: Any) -> None:
    if connection is not None:
        connection.close()


def _folder(request: Request) -> str:
    """Where this job's checkpoints are: under `checkpoint.dir`, by default beside the MLflow store."""
    job = request.job
    if (why := unfit(request.run_key or job.name)) is not None:
        raise ConfigError(
            f"{request.run_key!r:.80} cannot be a run key", why, "use letters, figures, - and _: --run-key nightly"
        )
    if request.checkpoint is not None:
        folder = request.checkpoint.rstrip("/").rpartition("/")[0]
        return folder.rpartition("/")[0] if job.train.starts > 1 else folder
    base = expand(job.checkpoint.dir) if job.checkpoint.dir else "checkpoints"
    base = base if "://" in base else str(Path(base).resolve())
    return f"{base}/{request.run_key or f'{job.name}-{new_name()}'}"
