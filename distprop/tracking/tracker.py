"""`MlflowTracker`: one MLflow run a job, kept by a listener that never blocks and never ends a training."""

import atexit
import json
import logging
import time
import uuid
from pathlib import Path
from types import TracebackType

from distprop.events import Event, RunEnded, Status, Stop
from distprop.tracking.address import SECRET, absolute
from distprop.tracking.delivery import Delivery
from distprop.tracking.origin import origin
from distprop.tracking.records import Recorder
from distprop.tracking.spool import HANDLE, Record, Spool, SpoolJob, find
from distprop.tracking.store import MlflowStore, Store
from distprop.tracking.summary import TrackingSummary, sum_up

LAST_PATIENCE = 30.0  # seconds, at the end of the process, for the request that is under way
PATIENCE = 30.0  # seconds to wait at the end for a server that answers
_log = logging.getLogger("distprop")


class MlflowTracker:
    """A listener of a job's events that keeps them in one MLflow run.

    An event is written to the spool, a file in `spool_dir`, and that is all that training waits for. One
    background thread imports MLflow, finds or begins the run, and sends the records in batches; while the server
    is away it backs off and tries again. run_id: the run (or `handle`) to go on with; steps that it has are not
    added twice. parent: the `handle` of the run that this one is shown in. Use it as a context manager, or call
    `close`: without either, the run becomes FAILED at exit.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        run_name: str,
        *,
        spool_dir: str | Path,
        run_id: str | None = None,
        parent: str | None = None,
        store: Store | None = None,
    ) -> None:
        self.uri = uri
        self._secret = "".join(SECRET.findall(uri))
        self._recorder = Recorder(origin())
        self._spool = _open_spool(Path(spool_dir), absolute(uri), experiment, run_name, run_id, parent)
        self._delivery = Delivery(self._spool, store if store is not None else MlflowStore(uri))
        self._ended = False
        self._full = False
        self._lost = 0
        self._summary: TrackingSummary | None = None
        self._delivery.start()
        atexit.register(self._at_exit)

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None until the server has answered."""
        return self._spool.delivered.run_id or self._spool.job.run_id

    @property
    def handle(self) -> str:
        """What a checkpoint keeps to go on with this run: its id, or the spool's token before it has one."""
        return self.run_id or HANDLE + self._spool.job.token

    @property
    def model_uri(self) -> str | None:
        """`models:/m-...`; None until the model was delivered."""
        return self._spool.delivered.model_uri

    @property
    def spool_path(self) -> Path:
        """The folder of what is not delivered yet."""
        return self._spool.folder

    def wait_ready(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until the run exists; False where it does not yet."""
        return self._delivery.ready.wait(timeout)

    def __call__(self, event: Event) -> None:
        """Spool what the event says. Takes microseconds; a full disk costs the record, not the training."""
        if self._ended:
            return
        self._ended = isinstance(event, RunEnded)
        for record in self._recorder.records(event):
            self._append(record)
        self._delivery.wake()

    def close(self, timeout: float = PATIENCE) -> TrackingSummary:
        """Deliver what is left, for at most `timeout` seconds, and say what became of it. May be called twice.

        A run that was given no RunEnded ends as FAILED.
        """
        if self._summary is None:
            self._end_as("failed")
            all_sent = self._delivery.finish(timeout)
            self._spool.save()
            self._summary = sum_up(self._spool, all_sent, self._delivery.away, self._lost)
            atexit.unregister(self._at_exit)
            if self._delivery.stuck:  # the interpreter must not end under a thread that is in MLflow
                atexit.register(self._delivery.join, LAST_PATIENCE)
            else:
                self._spool.close(remove=all_sent)
        return self._summary

    def interrupt(self) -> None:
        """Show the run as KILLED at once: whoever asked the job to end may soon kill it. A signal may call this."""
        self._delivery.interrupt(round(time.time() * 1000))

    def __enter__(self) -> "MlflowTracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit, GeneratorExit, Stop))
        self._end_as("interrupted" if interrupted else "failed", repr(error) if error is not None else "")
        self.close()

    def _append(self, record: Record) -> None:
        if record["kind"] == "model":
            record = {**record, "folder": self._keep(record["folder"], record["version"])}
        try:
            self._spool.append(_without(record, self._secret))
            if self._spool.unsaved and not self._full:
                self._full = True
                _log.warning("the disk of %s is full: records of the run wait in memory", self._spool.folder)
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                _log.warning("the tracking spool %s takes no more records: %s", self._spool.folder, error)

    def _keep(self, folder: str, version: int) -> str:
        try:
            return str(self._spool.keep(Path(folder), f"model-{version}").absolute())
        except OSError:  # then it must stay where it is
            return str(Path(folder).absolute())

    def _end_as(self, status: Status, why: str = "") -> None:
        """The safety net: a run whose end nobody told."""
        if not self._ended:
            self(RunEnded(time.time(), status, 0, {}, None, why or "the job ended without saying how"))

    def _at_exit(self) -> None:
        self.close(timeout=10.0)


def _without(record: Record, secret: str) -> Record:
    """The record without the user and password of the tracking address, which a job's own file may name."""
    if not secret:
        return record
    shown: Record = json.loads(json.dumps(record).replace(json.dumps(secret)[1:-1], ""))
    return shown


def _open_spool(
    spool_dir: Path, uri: str, experiment: str, run_name: str, run_id: str | None, parent: str | None
) -> Spool:
    """The spool that an earlier process of this run left, else a new one."""
    name = run_id.removeprefix(HANDLE) if run_id else None
    left = find(spool_dir, name) if name else None
    if left is not None:
        return Spool.open(left)
    token = name if run_id and run_id.startswith(HANDLE) and name else uuid.uuid4().hex
    known = run_id if run_id and not run_id.startswith(HANDLE) else None
    started = round(time.time() * 1000)
    return Spool.create(spool_dir / token, SpoolJob(uri, experiment, run_name, token, started, known, parent))
