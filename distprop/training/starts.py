"""Trains a job several times, from different initial weights, one after another; the best one is kept."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from distprop import events
from distprop.errors import DivergedError
from distprop.files import Folder
from distprop.model import load_model
from distprop.report import Result, Start
from distprop.training import results
from distprop.training.carrying import Ground, Task, Training, connected, find_start
from distprop.training.logged_job import run_parameters
from distprop.training.recording import Recording, open_recording
from distprop.training.several import ALL, best_of, compared_by, none_is_best, start_folders, task_of, what_is_known
from distprop.training.starting import StartingPoint
from distprop.trust import modules_of

BEGUN, ENDED = "begun.json", "ended.json"


def run(ground: Ground, task: Task, listeners: Sequence[events.Listener]) -> Result:
    """Train all starts that have not ended, and give the best one's result. Raises as a single training does.

    A start whose loss diverges does not end the others; where all do, DivergedError says so.
    """
    known = what_is_known(ground.request, task)
    if known and (earlier := results.load(task.folder)) is not None:
        return earlier
    with ExitStack() as stack:
        ground = connected(ground, stack)
        if ground.request.dry_run:
            return results.planned(ground.placement, task.cluster(ground, stack), StartingPoint())
        return _Starts(ground, task, events.fan_out(*listeners), known, stack).run()


class _Starts:
    """All starts of a job, and the run that they are shown in. known: what starts.json says; nothing: begin anew."""

    def __init__(
        self, ground: Ground, task: Task, heard: events.Listener, known: Mapping[str, Any], stack: ExitStack
    ) -> None:
        self.ground, self.task, self.heard, self.stack, self._known = ground, task, heard, stack, known
        self.count, self.metric = task.assembly.job.train.starts, compared_by(task.assembly.job)
        self.rows: list[Start] = []
        self._parent: Recording | None = None
        self._shown = False  # whether the parent knows that training began
        self._waiting = 0  # records of starts that MLflow has not acknowledged

    def run(self) -> Result:
        """Train what is left, and tell the parent run how it ended."""
        try:
            interrupted = self._train_all()
            return self._finished() if interrupted is None else self._interrupted(interrupted)
        except BaseException as error:
            status: events.Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self._tell_parent(events.RunEnded(time.time(), status, 0, {}, None, str(error)))
            raise

    def _train_all(self) -> Result | None:
        """Train what is left; what there is of a start where the job was interrupted."""
        for number in range(self.count):
            task = task_of(self.task, number)
            if self._has_ended(task):
                continue
            best = best_of(self.rows, self.metric)
            if self.ground.interrupts.asked and best is not None:  # between two starts
                before = _result_in(task_of(self.task, best.start).folder)
                return replace(before, status="interrupted", start=best.start)
            result = self._train(number, task)
            if result is not None and result.status == "interrupted":
                return result
        return None

    # ---- one start --------------------------------------------------------------------------------------------------

    def _has_ended(self, task: Task) -> bool:
        """Whether an earlier process trained it to its end; then it is heard of again."""
        kept = _noted(Folder(task.folder), ENDED) if self._known else None
        if kept is None:
            return False
        row, result = Start(**kept), results.load(task.folder)
        if row.status == "finished" and (result is None or not Path(result.model_uri or "").is_dir()):
            return False  # it goes on from its last checkpoint, to make the model anew
        self._add(row)
        return True

    def _train(self, number: int, task: Task) -> Result | None:
        """Train a start, or what is left of it; None where its loss diverged."""
        ground, folder = self._ground_of(task), Folder(task.folder)
        start, result, why = find_start(ground.request, task), None, ""
        with ExitStack() as stack:
            cluster = task.cluster(ground, stack)
            recording = stack.enter_context(self._recording(task, start))
            folder.write(BEGUN, _json({"run": recording.handle()}))
            training = Training(task, ground, cluster, recording)
            try:
                result = training.run(start, [self.heard, self._begin_parent])
            except DivergedError as error:
                why = error.what
        row = self._row(number, task, recording.handle(), training.version, result, why)
        self._waiting += result.spooled if result else 0
        if row.status != "interrupted":
            folder.write(ENDED, _json(asdict(row)))
            self._add(row)
            self._tell(self._ended(row))
        return result

    def _ground_of(self, task: Task) -> Ground:
        """A checkpoint that was asked for is that of one start; the others go on from their newest."""
        request = self.ground.request
        asked = request.checkpoint if str(request.checkpoint).startswith(f"{task.folder}/") else None
        request = replace(request, checkpoint=asked, resume="auto" if self._known else "never")
        return replace(self.ground, request=request, began=time.time())

    def _recording(self, task: Task, start: StartingPoint) -> Any:
        begun = _noted(Folder(task.folder), BEGUN) if self._known else None
        known = start.run_id or (begun["run"] if begun else None)
        parent = self._open_parent().handle()
        return open_recording(task.assembly.job, self.task.folder, known, parent, spared=(events.ModelSaved,))

    def _row(self, number: int, task: Task, handle: str | None, version: int, result: Result | None, why: str) -> Start:
        seed = task.assembly.job.seed
        if result is None:
            return Start(number, seed, "failed", version, {}, None, handle, why)
        return Start(number, seed, result.status, result.steps, result.metrics, result.digest, result.run_id)

    def _add(self, row: Start) -> None:
        self.rows.append(row)
        if self._parent is not None:
            self._tell_parent(self._ended(row))

    def _ended(self, row: Start) -> events.StartEnded:
        about = (row.start, self.count, row.seed, row.status, row.steps, row.metrics, row.digest, row.run_id)
        return events.StartEnded(time.time(), *about, self.metric, row.why)

    def _tell(self, event: events.Event) -> None:
        """A listener that has enough ends the job: the next start saves and ends at once."""
        try:
            self.heard(event)
        except events.Stop:
            self.ground.interrupts.stop()

    # ---- the run of all ---------------------------------------------------------------------------------------------

    def _open_parent(self) -> Recording:
        """The run of all starts; it hears of those that have ended before."""
        if self._parent is None:
            folder = Folder(self.task.folder)
            if not self._known:
                _forget(folder)
            opened = open_recording(self.task.assembly.job, self.task.folder, self._known.get("run"))
            self._parent = self.stack.enter_context(opened)
            self.ground.interrupts.tell(self._parent.interrupt)
            folder.write(ALL, _json({"run": self._parent.handle(), "recipe": self.task.fingerprint.recipe}))
            for row in self.rows:
                self._tell_parent(self._ended(row))
        return self._parent

    def _tell_parent(self, event: events.Event) -> None:
        for listener in self._parent.listeners if self._parent else ():
            listener(event)

    def _begin_parent(self, event: events.Event) -> None:
        """The job's own parameters and tags, when the first start of this process begins."""
        if isinstance(event, events.RunStarted) and not self._shown:
            self._shown = True
            job = self.task.assembly.job
            name, own = job.tracking.run_name or job.name, {"distprop.checkpoint": self.task.folder}
            tags = {key: value for key, value in event.tags.items() if key != "distprop.start"} | own
            params = run_parameters(self.task.assembly)
            self._tell_parent(replace(event, name=name, params=params, tags={**tags, **self.task.tags}, version=0))

    def _interrupted(self, result: Result) -> Result:
        self._tell_parent(events.RunEnded(time.time(), "interrupted", result.steps, {}, None))
        return self._as_whole(result)

    def _finished(self) -> Result:
        """The best start's result, model and metrics, in the run of all."""
        best = best_of(self.rows, self.metric)
        if best is None:
            raise none_is_best(self.rows, self.metric)
        self._open_parent()
        result = _result_in(task_of(self.task, best.start).folder)
        model = load_model(result.model_uri or "", trust=modules_of(self.task.assembly.job.model))
        version, now, path = model.metadata["version"], time.time(), str(result.model_uri)
        self._tell_parent(events.ModelSaved(now, version, path, model.digest))
        tags = {"distprop.best_start": str(best.start), "distprop.compared_by": self.metric}
        tags["distprop.digest"] = model.digest
        self._tell_parent(events.RunEnded(now, "finished", best.steps, best.metrics, model.digest, tags=tags))
        whole = replace(self._as_whole(result), start=best.start)
        results.store(self.task.folder, whole)
        return whole

    def _as_whole(self, result: Result) -> Result:
        """The result of one start, as that of the job."""
        kept = self._open_parent().close()
        return replace(
            result,
            run_id=kept.run_id,
            model_uri=kept.model_uri or result.model_uri,
            tracking_uri=kept.tracking_uri,
            seconds=time.time() - self.ground.began,
            spooled=kept.spooled + self._waiting,
            spool=kept.spool or result.spool,
            tracking_gap=kept.gap or result.tracking_gap,
            compared_by=self.metric,
            starts=tuple(self.rows),
        )


def _forget(folder: Folder) -> None:
    """What an earlier training left that is not gone on with."""
    for one in start_folders(folder.path):
        one.delete_all()
    if folder.has(results.RESULT):
        folder.delete(results.RESULT)


def _result_in(folder: str) -> Result:
    result = results.load(folder)
    assert result is not None, "a start that has finished has its result"
    return result


def _noted(folder: Folder, name: str) -> dict[str, Any] | None:
    """What such a note says; None where there is none, or it cannot be read: what it would have said is found anew."""
    try:
        noted = json.loads(folder.read(name) or b"null")
    except ValueError:
        return None
    return noted if isinstance(noted, dict) else None


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
