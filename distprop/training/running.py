"""One training in this process, whose arithmetic is in order: everything between a request and its result."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from distprop import checkpoint, events
from distprop.config import Job, expand
from distprop.errors import CheckpointError
from distprop.files import Folder
from distprop.numerics.fingerprint import Fingerprint, take_fingerprint
from distprop.numerics.kernel import choose, cpu_features
from distprop.numerics.verify import verify_kernel
from distprop.report import Result
from distprop.runtime.desk import Papers
from distprop.runtime.session import Cluster
from distprop.training import results
from distprop.training.assembling import Assembly, assemble
from distprop.training.clusters import connect, open_cluster, survey_map
from distprop.training.conducting import Conductor, Outcome, new_name
from distprop.training.diagnosing import Doctor, attended
from distprop.training.handing import rows_in_files
from distprop.training.interrupting import Interrupts
from distprop.training.placing import Placement, place
from distprop.training.recording import Recording, open_recording, preflight
from distprop.training.rehearsing import rehearsal, require_possible
from distprop.training.request import Request
from distprop.training.starting import StartingPoint, starting_point

TIMELINE = "timeline.json"


def run(request: Request, listeners: Sequence[events.Listener] = ()) -> Result:
    """Train as asked. Raises UserError before anything starts where possible, TrainingError where training failed."""
    began = time.time()
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        request = stack.enter_context(rows_in_files(request))
        job = request.job
        kernel = choose(job.numerics.blas_kernel, cpu_features())
        verify_kernel(kernel)
        placement = place(job, request.workers, request.servers, request.address, request.inline)
        require_possible(job.faults, placement.inline)
        preflight(job)
        connection = connect(placement) if placement.address is not None else None
        stack.callback(_close, connection)
        assembly = assemble(job, survey_map(connection, placement, kernel))
        fingerprint = take_fingerprint(assembly.job.recipe_hash(), assembly.dataset.digest, kernel)
        folder = _folder(request, job)
        start = find_start(request, folder, fingerprint, assembly)
        if start.finished and (earlier := results.load(folder)) is not None:
            return earlier
        cluster = open_cluster(connection or connect(placement), assembly, placement, folder, kernel, request.profile)
        stack.callback(cluster.close)
        if request.dry_run:
            return results.planned(placement, cluster, start)
        recording = stack.enter_context(open_recording(job, folder, start.run_id))
        training = _Training(assembly, placement, cluster, recording, interrupts, fingerprint, folder, request)
        return training.run(start, listeners, began)


def find_start(request: Request, folder: str, fingerprint: Fingerprint, assembly: Assembly) -> StartingPoint:
    """The beginning, or the checkpoint that was asked for. Raises CheckpointError."""
    saved = checkpoint.open_checkpoint(request.checkpoint) if request.checkpoint else None
    if saved is None and request.resume != "never":
        saved = checkpoint.newest(folder)
    if saved is None and request.resume == "must":
        raise CheckpointError(
            f"there is nothing to resume for the key {request.run_key!r}",
            f"{folder} has no whole checkpoint",
            "check the key and `checkpoint.dir`, or use --resume auto, which starts where there is none",
        )
    if saved is None:
        return StartingPoint()
    plan = assembly.dataset.train_plan
    rows = sum(plan.rows_in_step(step) for step in range(saved.manifest.version % plan.steps_per_epoch))
    return starting_point(saved, fingerprint, rows)


class _Training:
    """A training under way: its parts, and how they end together."""

    def __init__(
        self,
        assembly: Assembly,
        placement: Placement,
        cluster: Cluster,
        recording: Recording,
        interrupts: Interrupts,
        fingerprint: Fingerprint,
        folder: str,
        request: Request,
    ) -> None:
        self.assembly, self.placement, self.cluster, self.recording = assembly, placement, cluster, recording
        self.interrupts, self.fingerprint, self.folder, self.request = interrupts, fingerprint, folder, request
        self.version = 0  # the furthest that was heard of

    def run(self, start: StartingPoint, listeners: Sequence[events.Listener], began: float) -> Result:
        """Train, hand the model over, and always say how it ended."""
        rehearsing = rehearsal(self.assembly.job.faults, self.cluster)
        heard = events.fan_out(*listeners, *self.recording.listeners, rehearsing)
        doctor = Doctor()
        emit = attended(doctor, self._stoppable(heard))
        try:
            outcome = self._conductor(emit).run(start)
            model = self._save_model(outcome, emit)
            self._save_timeline(outcome, emit)
        except BaseException as error:
            status: events.Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            emit(events.RunEnded(time.time(), status, max(self.version, start.version), {}, None, str(error)))
            raise
        digest = outcome.model.digest if outcome.model else None
        tags = {"distprop.digest": digest} if digest else {}
        emit(events.RunEnded(time.time(), outcome.status, outcome.version, outcome.metrics, digest, tags=tags))
        kept = self.recording.close()
        ended = results.Ended(outcome, model, digest, self.folder, time.time() - began, doctor)
        result = results.make(self.assembly, self.placement, self.cluster, kept, ended)
        if outcome.status == "finished":
            results.store(self.folder, result)
        return result

    def _save_timeline(self, outcome: Outcome, emit: events.Listener) -> None:
        """What `--profile` asked for, beside the checkpoints and in the run."""
        if not self.request.profile:
            return
        trace = outcome.timeline.chrome()
        Folder(self.folder).write(TIMELINE, trace.encode())
        emit(events.ProfileTaken(time.time(), trace, outcome.timeline.shares()))

    def _stoppable(self, heard: events.Listener) -> events.Listener:
        """A listener that raises Stop ends the job as an interrupt does."""

        def emit(event: events.Event) -> None:
            self.version = max(self.version, getattr(event, "version", 0))
            try:
                heard(event)
            except events.Stop:
                self.interrupts.ask()

        return emit

    def _conductor(self, emit: events.Listener) -> Conductor:
        job = self.assembly.job
        papers = Papers(
            folder=self.folder,
            recipe=self.fingerprint.recipe,
            fingerprint=self.fingerprint.plain(),
            config=self._config(),
            keep_last=job.checkpoint.keep_last,
            run_id=self.recording.handle,
            run_key=self.request.run_key,
        )
        return Conductor(
            self.assembly,
            self.cluster,
            papers,
            self.fingerprint,
            emit,
            self.interrupts,
            self._last_checkpoint,
            tags=self._tags(),
        )

    def _last_checkpoint(self) -> StartingPoint:
        again = replace(self.request, resume="auto", checkpoint=None)
        return find_start(again, self.folder, self.fingerprint, self.assembly)

    def _config(self) -> str:
        """The job as it must be written to be resumed from anywhere: its checkpoints where they are."""
        return self.assembly.job.to_yaml()

    def _tags(self) -> dict[str, str]:
        tags = {f"distprop.{key}": value for key, value in self.fingerprint.plain().items()}
        tags |= {
            "distprop.workers": str(self.cluster.workers),
            "distprop.servers": str(self.cluster.servers),
            "distprop.cluster": self.placement.address or self.placement.source,
            "distprop.checkpoint": self.folder,
            **self.assembly.job.tracking.tags,
        }
        return {**tags, "distprop.run_key": self.request.run_key} if self.request.run_key else tags

    def _save_model(self, outcome: Outcome, emit: events.Listener) -> str | None:
        if outcome.model is None:
            return None
        local = "://" not in self.folder
        path = str(outcome.model.save(Path(self.folder) / "model" if local else Path(tempfile.mkdtemp()) / "model"))
        version = outcome.model.metadata["version"]
        emit(events.ModelSaved(time.time(), version, path, outcome.model.digest))
        return path


def _close(connection: Any) -> None:
    if connection is not None:
        connection.close()


def _folder(request: Request, job: Job) -> str:
    """Where this job's checkpoints are: under `checkpoint.dir`, by default beside the MLflow store."""
    if request.checkpoint is not None:
        return request.checkpoint.rstrip("/").rpartition("/")[0]
    base = expand(job.checkpoint.dir) if job.checkpoint.dir else "checkpoints"
    base = base if "://" in base else str(Path(base).resolve())
    return f"{base}/{request.run_key or f'{job.name}-{new_name()}'}"
