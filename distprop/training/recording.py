"""The listener that keeps the run, where tracking is wanted and there."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distprop.config import Job, expand
from distprop.events import Listener


@dataclass(frozen=True)
class Kept:
    """What became of the run."""

    run_id: str | None = None
    model_uri: str | None = None
    tracking_uri: str | None = None
    spooled: int = 0


@dataclass(frozen=True)
class Recording:
    """A run that is being kept, or none. `tracker` is a distprop.tracking.tracker.MlflowTracker."""

    tracker: Any = None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """What the events go to."""
        return (self.tracker,) if self.tracker is not None else ()

    def handle(self) -> str | None:
        """What a checkpoint keeps to go on with the run."""
        return self.tracker.handle if self.tracker is not None else None

    def close(self) -> Kept:
        """Deliver what is left and say what became of it."""
        if self.tracker is None:
            return Kept()
        summary = self.tracker.close()
        return Kept(self.tracker.run_id, self.tracker.model_uri, self.tracker.uri, summary.spooled)


@contextmanager
def open_recording(job: Job, folder: str, run_id: str | None) -> Iterator[Recording]:
    """Begin, or go on with, the job's run. Raises AddressError where nobody answers at its address."""
    settings = job.tracking
    if not settings.enabled or not _installed(settings.uri):
        yield Recording()
        return
    from distprop.tracking.address import preflight, resolve_uri
    from distprop.tracking.tracker import MlflowTracker

    uri = resolve_uri(expand(settings.uri) if settings.uri else None).uri
    preflight(uri)
    spool = Path(folder) / "spool" if "://" not in folder else Path("spool")
    with MlflowTracker(
        uri,
        expand(settings.experiment) if settings.experiment else _experiment(),
        settings.run_name or job.name,
        spool_dir=spool,
        run_id=run_id,
    ) as tracker:
        yield Recording(tracker)


def _experiment() -> str:
    import os

    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"


def _installed(uri: str | None) -> bool:
    """Whether MLflow is there; without it a job that names no server trains untracked, and says so."""
    if find_spec("mlflow") is not None or uri is not None:
        return True
    logging.getLogger("distprop").warning("MLflow is not installed: this run is not tracked (distprop[mlflow])")
    return False
