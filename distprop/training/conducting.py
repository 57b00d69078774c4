"""A training from its first event to its last: sessions on a cluster, the kept model, the result."""

import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from distprop import checkpoint, events
from distprop.errors import CheckpointError, DistpropError, LostError, TrainingError, UserError
from distprop.model import Model
from distprop.protocol.course import EVALUATE, TRAIN, Course, Round
from distprop.protocol.effects import Finish
from distprop.protocol.messages import Open
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.desk import Desk, Papers
from distprop.runtime.judge import Criteria, best_version
from distprop.runtime.session import Cluster, Session
from distprop.runtime.timeline import Timeline
from distprop.training.assembling import Assembly, test_course
from distprop.training.interrupting import Interrupts
from distprop.training.logged_job import run_parameters, with_logged_source
from distprop.training.loss_limit import LossLimit
from distprop.training.run_warnings import RunWarning, warnings_after, warnings_before
from distprop.training.starting import StartingPoint
from distprop.training.watched_metrics import require_measured

Emit = Callable[[events.Event], None]

THRESHOLD = "valid/operating_threshold"
"""The metric that says from which probability on a row is called positive: chosen on validation rows alone."""


@dataclass
class Conductor:
    """Runs the sessions of one training on `cluster` and tells `emit` what happens."""

    assembly: Assembly
    cluster: Cluster
    papers: Papers
    emit: Emit
    interrupts: Interrupts
    last_checkpoint: Callable[[], StartingPoint]
    tags: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    losses: LossLimit = field(default_factory=LossLimit)

    def run(self, start: StartingPoint) -> "Outcome":
        """Train from `start` to the end, test the kept version, hand over its model.

        A lost server, in training or in the test, costs the steps since the last checkpoint.
        """
        self.emit(self._run_started(start))
        self._warn(start)
        self._say(start.version, warnings_before(self.assembly))
        desk, version, interrupted = self._train(start)
        if interrupted:
            return self._interrupted(desk, version)
        require_measured(self.assembly.criteria, desk.history, self.papers.folder)
        kept, measured = self._kept(desk, version)
        tested = self._test(kept, measured.get(THRESHOLD, math.nan))
        if tested is None:
            return self._interrupted(desk, version)
        metrics = {**desk.metrics, **measured, **tested}
        model = self._model(kept, metrics)
        self._say(kept, warnings_after(self.assembly.blueprint, metrics))
        return Outcome.of(desk, "finished", version, metrics, model)

    def _kept(self, desk: Desk, version: int) -> tuple[int, Mapping[str, float]]:
        """The version that is kept, now that `version` is there, and what was measured of it."""
        best = best_version(self.assembly.criteria, desk.history)
        kept = version if best is None else best
        measured = [opinion.metrics for opinion in desk.history if opinion.version == kept]
        return kept, measured[-1] if measured else {}

    def _interrupted(self, desk: Desk, version: int) -> "Outcome":
        """The model that is kept so far where a listener had enough of the training; a signal waits for no model."""
        model = None
        if self.interrupts.stopped and version:
            kept, measured = self._kept(desk, version)
            try:
                model = self._model(kept, {**desk.metrics, **measured})
            except TrainingError as error:
                self.emit(events.CheckpointFailed(time.time(), kept, error.why))
        return Outcome.of(desk, "interrupted", version, desk.metrics, model)

    def _train(self, start: StartingPoint) -> tuple[Desk, int, bool]:
        """Sessions until the last version or an interrupt."""
        while True:
            desk = self._desk(self.assembly.course, start)
            if start.finished:
                return desk, start.version, False
            try:
                ended = self._session(desk, Round(start.version, TRAIN), start.path, start.factor)
                return desk, ended.version, ended.interrupted
            except LostError as lost:
                goes_on = self._recover(lost, start.version, start.version + desk.steps)
            start = self.last_checkpoint()
            self._warn(start)
            if not goes_on:
                return self._desk(self.assembly.course, start), start.version, True

    def _recover(self, lost: LostError, checkpoint: int, version: int) -> bool:
        """All processes anew, for a session that goes on; False where the job is asked to end.

        Raises LostError where too many were lost without progress, or where no machine is left.
        """
        if self.interrupts.asked:
            return False
        if not self.losses.allows_another(checkpoint, version):
            raise lost
        self.emit(events.ServerLost(time.time(), lost.what))
        try:
            self.cluster.restart()
        except LostError:
            if not self.interrupts.asked:
                raise
        return not self.interrupts.asked

    def _warn(self, start: StartingPoint) -> None:
        """Say what is odd about where the training goes on."""
        for what, fix in start.warnings:
            self.emit(events.Warned(time.time(), start.version, "checkpoint", "", what, fix))

    def _say(self, version: int, warnings: Iterable[RunWarning]) -> None:
        for kind, what, fix in warnings:
            self.emit(events.Warned(time.time(), version, kind, "", what, fix))

    def _session(self, desk: Desk, first: Round, source: str | None, factor: float) -> Finish:
        servers = self.cluster.servers
        pieces = self.assembly.blueprint.pieces(servers)
        opening = Open(self.attempt, desk.course, first, servers, source, factor, pieces)
        self.attempt += 1
        self.interrupts.attend(self.cluster.interrupt)
        try:
            ended = self.cluster.run(Session(opening, desk))
            if ended.error is not None:
                raise ended.error
        except CheckpointError:
            raise
        except UserError as error:  # right at the start, wrong under way: files that changed, say
            raise TrainingError(error.what, error.why, error.fix) from error
        return ended

    def _desk(self, course: Course, start: StartingPoint, blueprint: Blueprint | None = None) -> Desk:
        return Desk(
            blueprint=blueprint or self.assembly.blueprint,
            course=course,
            criteria=self.assembly.criteria,
            papers=self.papers,
            emit=self.emit,
            clock=time.time,
            replace=self.cluster.replace,
            history=list(start.history),
            cursor=start.cursor,
            factor=start.factor,
            metrics=dict(start.metrics),
            sealed=self._before(start),
        )

    def _before(self, start: StartingPoint) -> list[int]:
        """The versions that the training to be gone on with has left: the newest of them are still kept."""
        found = checkpoint.versions(self.papers.folder) if start.path else []
        known = (int(path.rpartition("/")[2]) for path in found)
        return [version for version in known if version <= start.version]

    def _test(self, kept: int, chosen: float) -> dict[str, float] | None:
        """The test metrics of the kept version: {} without test rows, None where the job was asked to end before.

        chosen: the operating threshold, where there is one.
        """
        if self.assembly.dataset.test_plan is None:
            return {}
        course = test_course(self.assembly.course, self.assembly.dataset, kept)
        after_all = self.assembly.course.last + 1
        while True:
            desk = self._desk(course, StartingPoint(version=kept), self.assembly.blueprint.at_threshold(chosen))
            desk.criteria = Criteria()
            try:
                ended = self._session(desk, Round(kept, EVALUATE), self._path(kept), 1.0)
                return None if ended.interrupted else dict(desk.metrics)
            except LostError as lost:
                if not self._recover(lost, after_all, after_all):
                    return None

    def _path(self, version: int) -> str:
        return checkpoint.version_path(self.papers.folder, version)

    def _model(self, kept: int, metrics: Mapping[str, float]) -> Model:
        """The kept version's weights with everything that turns rows into predictions."""
        try:
            weights = checkpoint.open_checkpoint(self._path(kept)).kept()
        except DistpropError as error:
            raise TrainingError(
                f"the weights of version {kept} were not kept",
                f"its checkpoint could not be written: {error.what}",
                "make room in `checkpoint.dir`, then `distprop resume` this run",
            ) from error
        metadata = {**self.papers.model["metadata"], "version": kept, "metrics": dict(metrics)}
        return Model(flat=weights, **{**self.papers.model, "metadata": metadata})

    def _run_started(self, start: StartingPoint) -> events.RunStarted:
        course, dataset, job = self.assembly.course, self.assembly.dataset, self.assembly.job
        return events.RunStarted(
            time=time.time(),
            name=job.tracking.run_name or job.name,
            params=run_parameters(self.assembly),
            tags=dict(self.tags),
            config=self.papers.config,
            datasets=tuple(events.DatasetUsed(**with_logged_source(one, job)) for one in dataset.used()),
            version=start.version,
            last_version=course.last,
            steps_per_epoch=course.steps_per_epoch,
            rows_per_epoch=dataset.train_plan.rows,
            parameters=self.assembly.blueprint.parameters,
            workers=self.cluster.workers,
            servers=self.cluster.servers,
        )


@dataclass(frozen=True)
class Outcome:
    """How the sessions ended."""

    status: events.Status
    version: int
    metrics: dict[str, float]
    model: Model | None
    steps: int  # in this process; a resumed job had others before
    rows: int
    seconds: float  # between the first step and the last
    timeline: Timeline

    @classmethod
    def of(
        cls, desk: Desk, status: events.Status, version: int, metrics: Mapping[str, float], model: Model | None
    ) -> "Outcome":
        """The outcome of a session whose books are on `desk`."""
        return cls(status, version, dict(metrics), model, desk.steps, desk.rows, desk.seconds, desk.timeline)


def new_name() -> str:
    """A name for what a job without a key leaves on disk."""
    return uuid.uuid4().hex[:12]
