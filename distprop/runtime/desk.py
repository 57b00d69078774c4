"""The coordinator's hands: turns what was gathered into events, verdicts and manifests."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distprop import checkpoint, events
from distprop.data.receipt import LIMBS, MODULUS, limbs_to_receipt
from distprop.errors import DivergedError, TrainingError
from distprop.nn.reliability import curves_of
from distprop.nn.tail import ROWS, Tail
from distprop.protocol import effects, messages
from distprop.protocol.course import Course
from distprop.protocol.effects import Send
from distprop.runtime import examining
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.judge import Criteria, Opinion, best_version, first_unmeasured, judge
from distprop.runtime.timeline import Timeline

Emit = Callable[[events.Event], None]


@dataclass(frozen=True)
class Cursor:
    """Where the data is at a version: the receipt and the rows of the epoch so far."""

    receipt: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Papers:
    """What a checkpoint's manifest says of its job, the same for all versions."""

    folder: str
    recipe: str
    fingerprint: Mapping[str, str]
    config: str
    keep_last: int
    run_id: Callable[[], str | None]
    run_key: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)  # what a Model has beside its weights


@dataclass
class Desk:
    """Keeps the books of one attempt.

    clock: gives seconds since the epoch. replace: starts a worker in the place of one, at a server.
    """

    blueprint: Blueprint
    course: Course
    criteria: Criteria
    papers: Papers
    emit: Emit
    clock: Callable[[], float]
    replace: Callable[[int, int], None]
    history: list[Opinion] = field(default_factory=list)
    cursor: Cursor = field(default_factory=Cursor)
    factor: float = 1.0
    metrics: dict[str, float] = field(default_factory=dict)
    ended: effects.Finish | None = None
    sealed: list[int] = field(default_factory=list)
    steps: int = 0
    rows: int = 0
    seconds: float = 0.0
    waiting: float = 0.0  # share of their time that workers lately waited
    timeline: Timeline = field(default_factory=Timeline)  # what processes told of their time, where they were asked to

    def __post_init__(self) -> None:
        self._computer = self.blueprint.computer()
        self._layout = self._computer.layout
        self._cursors: dict[int, Cursor] = {}
        self._last_time = self.clock()
        self._begun = len(self.history), self.factor
        self._sums: Mapping[int, Any] = {}  # of the step before

    def pack(self, send: Send) -> Send:
        """The coordinator sends plain values."""
        return send

    def perform(self, effect: Any) -> Any:
        """Do what the coordinator asks."""
        match effect:
            case effects.Report(messages.Gathered() as gathered):
                self._step(gathered)
            case effects.Judge(gathered):
                return self._judge(gathered)
            case effects.Report(what):
                self._tell(what)
            case effects.Seal(version, files):
                return self._seal(version, files)
            case effects.Replace(worker, server):
                self.replace(worker, server)
            case effects.Finish():
                self.ended = effect
        return None

    # ---- training ---------------------------------------------------------------------------------------------------

    def _step(self, gathered: messages.Gathered) -> None:
        """A version was committed: its metrics, and at the end of an epoch the proof that each row was used once."""
        now, version, tail = gathered.time or self.clock(), gathered.round.version + 1, gathered.tail
        rows = int(tail[ROWS])
        self.steps, self.rows = self.steps + 1, self.rows + rows
        figures = self._training_metrics(gathered)
        self.metrics.update(figures)
        epoch = gathered.round.version // self.course.steps_per_epoch
        seconds, self._last_time = now - self._last_time, now
        self.seconds += seconds if self.steps > 1 else 0.0  # the first step waits for processes to start
        self.emit(events.StepEnded(now, version, epoch, figures, rows, seconds, seconds * self.waiting))
        if self.course.diagnoses(gathered.round.version):
            self.emit(self._diagnosed(now, gathered))
        self._require_finite(gathered)
        self._sums = gathered.sums
        receipt = (self.cursor.receipt + limbs_to_receipt(tail[-LIMBS:])) % MODULUS
        self.cursor = Cursor(receipt, self.cursor.rows + rows)
        if version % self.course.steps_per_epoch == 0:
            self._close_epoch(now, version, epoch)
        if self.course.keeps:
            self._cursors[version] = self.cursor

    def _training_metrics(self, gathered: messages.Gathered) -> dict[str, float]:
        found = {f"train/{name}": value for name, value in self._layout.read(gathered.tail[:-LIMBS]).items()}
        found["learning_rate"] = self.blueprint.optimizer.rate(gathered.round.version) * self.factor
        found["gradient_norm"] = examining.length(gathered.sums)
        return found

    def _diagnosed(self, now: float, gathered: messages.Gathered) -> events.Diagnosed:
        """The step, layer by layer."""
        version, rows = gathered.round.version, examining.gathered(gathered.sums)
        arena, groups = self.blueprint.network.arena, self.blueprint.groups
        figures = {f"gradient_norm/{name}": norm for name, norm in self._lengths(gathered.sums).items()}
        if not self.blueprint.optimizer.at(version).holds:
            moved = examining.ratios(arena, groups, rows)
            figures |= {f"update_ratio/{name}": ratio for name, ratio in moved.items()}
        whole = not any(group.frozen for group in groups)  # a frozen layer's part of the mean is not told
        leaves, square = len(self.course.present(gathered.round)), self.metrics["gradient_norm"] ** 2
        noise = examining.noise(gathered.tail, leaves, square) if whole else None
        return events.Diagnosed(now, version + 1, figures, (noise.variance, noise.square) if noise else None)

    def _lengths(self, sums: Mapping[int, Any]) -> dict[str, float]:
        """The gradient's length in each layer."""
        if not sums:
            return {}
        return examining.lengths(self.blueprint.network.arena, self.blueprint.groups, examining.gathered(sums)[0])

    def _require_finite(self, gathered: messages.Gathered) -> None:
        loss, step = self.metrics["train/loss"], gathered.round.version
        if not math.isfinite(loss):
            culprit = examining.broken(step, self._lengths(gathered.sums), self._lengths(self._sums))
            raise DivergedError(
                f"the loss became {loss} in step {step}",
                f"{culprit}; the learning rate is too high for this model and data, or the data has extreme values",
                "lower the learning rate, set `optimizer.clip_norm: 1.0`, or standardize the features",
            )

    def _close_epoch(self, now: float, version: int, epoch: int) -> None:
        expected = self.blueprint.dataset.train_receipt
        if self.cursor.receipt != expected:
            raise TrainingError(
                f"epoch {epoch} did not see each row once",
                f"its receipt is {self.cursor.receipt:032x}, that of the data {expected:032x}",
                "files that changed while the job ran explain this; if none did, please report it",
            )
        self.emit(events.EpochEnded(now, version, epoch, self.cursor.rows, f"{self.cursor.receipt:032x}"))
        self.cursor = Cursor()

    # ---- evaluation -------------------------------------------------------------------------------------------------

    def _judge(self, gathered: messages.Gathered) -> messages.Verdict:
        version, split = gathered.round.version, self.course.split
        found = {f"{split}/{name}": value for name, value in self._layout.read(gathered.tail[:-LIMBS]).items()}
        opinion = judge(self.criteria, self.history, version, found)
        unmeasured = first_unmeasured(self.criteria, self.history, found)
        self.history.append(opinion)
        self.factor *= opinion.factor
        self.metrics.update(found)
        self.emit(self._evaluated(gathered, opinion))
        for name in unmeasured:
            what = f"{name} is NaN: it chooses nothing, and counts as no better than before"
            fix = "see that data.valid has rows of every class, and that outputs are finite"
            self.emit(events.Warned(self.clock(), version, "not_a_number", "", what, fix))
        idle = self._layout.read_activity(gathered.tail[:-LIMBS]) if split == "valid" else {}
        if idle:
            self.emit(events.Diagnosed(self.clock(), version, idle))
        return messages.Verdict(gathered.attempt, version, opinion.stop, opinion.factor, opinion.best)

    def _evaluated(self, gathered: messages.Gathered, opinion: Opinion) -> events.Evaluated:
        table = self._layout.read_counts(gathered.tail[:-LIMBS])
        counts = tuple(tuple(row) for row in table.tolist()) if table is not None else None
        dataset, classify = self.blueprint.dataset, self.blueprint.loss.task != "regression"
        split: Any = self.course.split
        return events.Evaluated(
            time=self.clock(),
            version=opinion.version,
            epoch=opinion.version / self.course.steps_per_epoch,
            split=split,
            metrics=opinion.metrics,
            best=opinion.best,
            stop=opinion.stop,
            confusion=counts if classify else None,
            classes=tuple(str(one) for one in dataset.targets.classes or ()),
            scatter=None if classify else counts,
            scatter_range=dataset.target_range,
            curves=self._curves(gathered.tail[:-LIMBS], opinion.metrics),
        )

    def _curves(self, tail: Tail, metrics: Mapping[str, float]) -> events.BinaryCurves | None:
        """For two classes, where a metric had the rows gathered."""
        scored = self._layout.scored(tail) if self.blueprint.loss.task == "binary" else None
        made = curves_of(scored, metrics.get(f"{self.course.split}/operating_threshold")) if scored else None
        return events.BinaryCurves(*made) if made else None

    # ---- checkpoints, workers ---------------------------------------------------------------------------------------

    def _seal(self, version: int, saved: Mapping[int, messages.Saved]) -> messages.Sealed:
        failed = [said.why for said in saved.values() if said.why]
        if not failed:
            try:
                path = checkpoint.seal(self.papers.folder, self._manifest(version, saved))
                self._prune(version)
                self.emit(events.Checkpointed(self.clock(), version, path))
            except OSError as error:
                failed = [str(error)]
        if failed:
            self.emit(events.CheckpointFailed(self.clock(), version, failed[0]))
        return messages.Sealed(version, failed[0] if failed else "")

    def _manifest(self, version: int, saved: Mapping[int, messages.Saved]) -> checkpoint.Manifest:
        parts = tuple(sorted((part for said in saved.values() for part in said.files), key=lambda part: part.start))
        verdicts = [opinion for opinion in self.history if opinion.version <= version]
        cursor = self._cursors.get(version, self.cursor)
        self._cursors = {at: one for at, one in self._cursors.items() if at > version}
        return checkpoint.Manifest(
            version=version,
            last=self.course.last,
            recipe=self.papers.recipe,
            fingerprint=self.papers.fingerprint,
            parameters=self.blueprint.parameters,
            digest=checkpoint.digest_of(parts),
            parts=parts,
            config=self.papers.config,
            factor=self._factor_at(version),
            verdicts=tuple(opinion.plain() for opinion in verdicts),
            receipt=f"{cursor.receipt:x}",
            best=bool(verdicts) and verdicts[-1].best and verdicts[-1].version == version,
            run_id=self.papers.run_id(),
            run_key=self.papers.run_key,
            finished=version == self.course.last or (bool(verdicts) and verdicts[-1].stop),
            metrics=dict(self.metrics),
            model=self.papers.model,
        )

    def _factor_at(self, version: int) -> float:
        """The factor of the learning rate that is in force once `version` was judged."""
        known, factor = self._begun
        return math.prod([one.factor for one in self.history[known:] if one.version <= version], start=factor)

    def _prune(self, version: int) -> None:
        """Keep the newest checkpoints and the best one."""
        self.sealed.append(version)
        keep = set(sorted(self.sealed)[-self.papers.keep_last :])
        best = best_version(self.criteria, self.history)
        checkpoint.prune(self.papers.folder, keep | ({best} if best is not None else set()))

    def _tell(self, what: Any) -> None:
        match what:
            case messages.Joined(worker, server):
                self.emit(events.WorkerJoined(self.clock(), worker, f"host-{server}"))
            case messages.Gone(worker, server, why):
                self.emit(events.WorkerLost(self.clock(), worker, f"host-{server}", why))


__all__ = ["Cursor", "Desk", "Papers"]
