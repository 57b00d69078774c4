"""One training on a cluster of its own: opened, recorded, and always told how it ended."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distprop import checkpoint, events
from distprop.errors import CheckpointError, TrainingError
from distprop.files import Folder
from distprop.numerics.fingerprint import Fingerprint
from distprop.report import Result
from distprop.runtime.desk import Papers
from distprop.runtime.session import Cluster
from distprop.system_errors import explained
from distprop.training import results
from distprop.training.assembling import Assembly
from distprop.training.clusters import connect, open_cluster
from distprop.training.conducting import Conductor, Outcome
from distprop.training.diagnosing import Doctor, attended
from distprop.training.interrupting import Interrupts
from distprop.training.kept_model import model_parts
from distprop.training.placing import Placement
from distprop.training.recording import Recording
from distprop.training.rehearsing import rehearsal
from distprop.training.request import Request
from distprop.training.starting import StartingPoint, starting_point

TIMELINE = "timeline.json"


@dataclass(frozen=True)
class Ground:
    """What all trainings of one request stand on."""

    request: Request
    placement: Placement
    connection: Any  # to Ray; None where they run inline
    interrupts: Interrupts
    kernel: str
    began: float


@dataclass(frozen=True)
class Task:
    """A training that can be carried out."""

    assembly: Assembly
    fingerprint: Fingerprint
    folder: str
    config: str  # the job as it must be written to be resumed from anywhere, as YAML
    tags: Mapping[str, str] = field(default_factory=dict)

    def cluster(self, ground: Ground, stack: ExitStack) -> Cluster:
        """Its servers and workers, ended with the stack. Raises UserError, LostError, FingerprintError."""
        where, profile = (ground.placement, self.folder, ground.kernel), ground.request.profile
        cluster = open_cluster(ground.connection, self.assembly, *where, profile)
        stack.callback(cluster.close)
        return cluster


def connected(ground: Ground, stack: ExitStack) -> Ground:
    """The same with its connection to Ray, where it needs one and has none yet; it ends with the stack."""
    if ground.connection is not None or ground.placement.inline:
        return ground
    connection = connect(ground.placement)
    stack.callback(connection.close)
    return replace(ground, connection=connection)


def find_start(request: Request, task: Task) -> StartingPoint:
    """The beginning, or the checkpoint that was asked for. Raises CheckpointError."""
    saved = checkpoint.open_checkpoint(request.checkpoint) if request.checkpoint else None
    if saved is None and request.resume != "never":
        saved = checkpoint.newest(task.folder)
    if saved is None and request.resume == "must":
        raise nothing_to_resume(request, task.folder)
    if saved is None:
        return StartingPoint()
    plan = task.assembly.dataset.train_plan
    rows = sum(plan.rows_in_step(step) for step in range(saved.manifest.version % plan.steps_per_epoch))
    return starting_point(saved, task.fingerprint, rows)


def nothing_to_resume(request: Request, folder: str) -> CheckpointError:
    """What `--resume must` is told where there is nothing."""
    return CheckpointError(
        f"there is nothing to resume for the key {request.run_key!r}",
        f"{folder} has no whole checkpoint",
        "check the key and `checkpoint.dir`, or use --resume auto, which starts where there is none",
    )


@contextmanager
def _under_way(what: str) -> Iterator[None]:
    """What the operating system refuses a training that has begun is no wrong input any more."""
    try:
        yield
    except (OSError, MemoryError) as error:
        told = explained(error, what)
        raise TrainingError(told.what, told.why, told.fix) from error


class Training:
    """A training under way: its parts, and how they end together."""

    def __init__(self, task: Task, ground: Ground, cluster: Cluster, recording: Recording) -> None:
        self.task, self.ground, self.cluster, self.recording = task, ground, cluster, recording
        self.version = 0  # the furthest that was heard of

    def run(self, start: StartingPoint, listeners: Sequence[events.Listener]) -> Result:
        """Train, hand the model over, and always say how it ended."""
        if Folder(self.task.folder).local:  # locked: nobody else writes there
            checkpoint.clear_unfinished(self.task.folder)
        rehearsing = rehearsal(self.task.assembly.job.faults, self.cluster)
        heard = events.fan_out(*listeners, *self.recording.listeners, rehearsing)
        doctor = Doctor()
        self.ground.interrupts.tell(self.recording.interrupt)
        emit = attended(doctor, self._stoppable(heard))
        try:
            with _under_way("the training cannot go on"):
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
        ended = results.Ended(outcome, model, digest, self.task.folder, time.time() - self.ground.began, doctor)
        result = results.make(self.task.assembly, self.ground.placement, self.cluster, kept, ended)
        if outcome.status == "finished":
            results.store(self.task.folder, result)
        return result

    def _save_timeline(self, outcome: Outcome, emit: events.Listener) -> None:
        """What `--profile` asked for, beside the checkpoints and in the run."""
        if not self.ground.request.profile:
            return
        trace = outcome.timeline.chrome()
        with _under_way(f"the timeline cannot be written into {self.task.folder}"):
            Folder(self.task.folder).write(TIMELINE, trace.encode())
        emit(events.ProfileTaken(time.time(), trace, outcome.timeline.shares()))

    def _stoppable(self, heard: events.Listener) -> events.Listener:
        """A listener that raises Stop ends the job as an interrupt does."""

        def emit(event: events.Event) -> None:
            self.version = max(self.version, getattr(event, "version", 0))
            try:
                heard(event)
            except events.Stop:
                self.ground.interrupts.stop()

        return emit

    def _conductor(self, emit: events.Listener) -> Conductor:
        task = self.task
        papers = Papers(
            folder=task.folder,
            recipe=task.fingerprint.recipe,
            fingerprint=task.fingerprint.plain(),
            config=task.config,
            keep_last=task.assembly.job.checkpoint.keep_last,
            run_id=self.recording.handle,
            run_key=self.ground.request.run_key,
            model=model_parts(task.assembly, task.fingerprint),
        )
        return Conductor(
            task.assembly,
            self.cluster,
            papers,
            emit,
            self.ground.interrupts,
            self._last_checkpoint,
            tags=self._tags(),
        )

    def _last_checkpoint(self) -> StartingPoint:
        return find_start(replace(self.ground.request, resume="auto", checkpoint=None), self.task)

    def _tags(self) -> dict[str, str]:
        tags = {f"distprop.{key}": value for key, value in self.task.fingerprint.plain().items()}
        return {
            **tags,
            "distprop.workers": str(self.cluster.workers),
            "distprop.servers": str(self.cluster.servers),
            "distprop.cluster": self.ground.placement.address or self.ground.placement.source,
            "distprop.checkpoint": self.task.folder,
            **self.task.assembly.job.tracking.tags,
            **self.task.tags,
        }

    def _save_model(self, outcome: Outcome, emit: events.Listener) -> str | None:
        if outcome.model is None:
            return None
        local = "://" not in self.task.folder
        folder = Path(self.task.folder) if local else Path(tempfile.mkdtemp())
        with _under_way(f"the model cannot be written into {folder}"):
            path = str(outcome.model.save(folder / "model"))
        version = outcome.model.metadata["version"]
        emit(events.ModelSaved(time.time(), version, path, outcome.model.digest))
        return path
