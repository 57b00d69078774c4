"""The listener that keeps the run, where tracking is wanted and there."""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distprop.config import Job, expand
from distprop.errors import AddressError
from distprop.events import Event, Listener

RAYS_OWN = "/runtime_resources/working_dir_files/"  # in the path of the folder that a submitted job runs in


@dataclass(frozen=True)
class Kept:
    """What became of the run."""

    run_id: str | None = None
    model_uri: str | None = None
    tracking_uri: str | None = None
    spooled: int = 0
    spool: str | None = None
    gap: str = ""  # why the run is not whole


@dataclass(frozen=True)
class Recording:
    """A run that is being kept, or none. `tracker` is a distprop.tracking.tracker.MlflowTracker.

    spared: events that it does not hear.
    """

    tracker: Any = None
    spared: tuple[type[Event], ...] = ()

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """What the events go to."""
        return (self._hear,) if self.tracker is not None else ()

    def _hear(self, event: Event) -> None:
        if not isinstance(event, self.spared):
            self.tracker(event)

    def handle(self) -> str | None:
        """What a checkpoint keeps to go on with the run."""
        return self.tracker.handle if self.tracker is not None else None

    def interrupt(self) -> None:
        """The job was asked to end: the run says so at once. A signal may call this."""
        if self.tracker is not None:
            self.tracker.interrupt()

    def close(self) -> Kept:
        """Deliver what is left and say what became of it."""
        if self.tracker is None:
            return Kept()
        summary = self.tracker.close()
        waits = str(self.tracker.spool_path) if summary.spooled else None
        from distprop.tracking.address import without_secrets

        uri = without_secrets(self.tracker.uri)
        return Kept(self.tracker.run_id, self.tracker.model_uri, uri, summary.spooled, waits, summary.gap)


def preflight(job: Job) -> None:
    """See that a run can be kept; before anything is started or written.

    Raises AddressError where it cannot; where the job does not require it, that is a warning.
    """
    if not _wanted(job):
        return
    from distprop.tracking import address

    try:
        address.preflight(_uri(job), _experiment(job))
    except AddressError as error:
        if job.tracking.required:
            raise
        text = "%s (%s): training all the same, as `tracking.required: false` says; to send its records later: %s"
        logging.getLogger("distprop").warning(text, error.what, error.why, error.fix)


@contextmanager
def open_recording(
    job: Job, folder: str, run_id: str | None, parent: str | None = None, spared: tuple[type[Event], ...] = ()
) -> Iterator[Recording]:
    """Begin, or go on with, the job's run. parent: what `handle` gives of the run that it is shown in."""
    if not _wanted(job):
        yield Recording()
        return
    from distprop.tracking.address import sqlite_path
    from distprop.tracking.tracker import MlflowTracker

    settings = job.tracking
    spool = Path(folder) / "spool" if "://" not in folder else Path("spool")
    name = settings.run_name or f"{job.name}-{secrets.token_hex(2)}"  # runs of one job are told apart
    _warn_of_passing_place(sqlite_path(_uri(job)), folder)
    how: dict[str, Any] = {"spool_dir": spool, "run_id": run_id, "parent": parent}
    with MlflowTracker(_uri(job), _experiment(job), name, **how) as tracker:
        yield Recording(tracker, spared)


def _warn_of_passing_place(store: Path | None, folder: str) -> None:
    """`ray job submit --working-dir .` runs the job in a folder that Ray deletes when it likes."""
    places = [Path(folder).absolute()] if "://" not in folder else []
    places += [store.absolute()] if store is not None else []
    passing = [str(place) for place in places if RAYS_OWN in str(place)]
    if passing:
        logging.getLogger("distprop").warning(
            "%s: in a temporary folder of Ray, which deletes it; set `checkpoint.dir` and `tracking.uri` to places "
            "that last, by absolute paths or addresses",
            " and ".join(passing),
        )


def _experiment(job: Job) -> str:
    named = expand(job.tracking.experiment) if job.tracking.experiment else os.environ.get("MLFLOW_EXPERIMENT_NAME")
    return named or "Default"


def _uri(job: Job) -> str:
    from distprop.tracking.address import resolve_uri

    return resolve_uri(expand(job.tracking.uri) if job.tracking.uri else None).uri


def _wanted(job: Job) -> bool:
    """Whether a run is kept; without MLflow a job that names no server trains untracked, and says so."""
    if not job.tracking.enabled:
        return False
    if find_spec("mlflow") is not None or job.tracking.uri is not None:
        return True
    logging.getLogger("distprop").warning("MLflow is not installed: this run is not tracked (distprop-train[mlflow])")
    return False
