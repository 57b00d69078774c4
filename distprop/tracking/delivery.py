"""Takes records out of a spool and to the server, in order and once, in a thread of its own."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event as Flag
from threading import Thread
from typing import Any

from distprop.errors import DistpropError
from distprop.tracking.address import without_secrets
from distprop.tracking.naming import cut
from distprop.tracking.spool import Line, Record, Spool
from distprop.tracking.store import Gone, NotYet, Point, Refused, Run, Store

RECORDS_AT_ONCE = 500
POINTS_AT_ONCE = 1000
MERGED = ("points", "tags")
SPARED = ("picture", "model", "text", "inputs", "link")
SHORTEST_PAUSE = 0.25  # seconds between requests, so that many steps share one
REST = 2.0  # pause this many times as long as sending took: training shares the interpreter with us
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds of back-off
GRACE = 5.0  # seconds, at the end, for a server that does not answer
POLL = 0.1  # seconds between two looks for an interrupt, which may not wake anybody
PENDING_TAG = "distprop.pending"
TRIES = 3  # of a picture, a model or the like that fails while the server answers

_log = logging.getLogger("distprop")


class Delivery:
    """Delivers one spool to one store."""

    def __init__(self, spool: Spool, store: Store) -> None:
        self.spool, self._store = spool, store
        self.away: str = ""  # why the server could not be reached, when last tried; empty while it answers
        self.ready = Flag()
        self._run: Run | None = None
        self._steps: dict[str, int] = {}  # metric -> last step that the run has
        self._failures = 0  # one after another
        self._killed_at = 0  # milliseconds since the epoch: an interrupt that the run is to show at once
        self._stopped = False  # nobody waits any more
        self._deadline = 0.0  # for a server that does not answer
        self._wake, self._closing = Flag(), Flag()
        self._thread = Thread(target=self._loop, name="distprop-tracking", daemon=True)
        self._did: dict[str, Callable[[str, Record], None]] = {
            "params": lambda run, record: store.params(run, record["params"]),
            "inputs": lambda run, record: store.inputs(run, record["datasets"]),
            "text": lambda run, record: store.text(run, record["name"], record["text"]),
            "picture": store.picture,
            "model": self._log_model,
            "link": lambda run, record: store.link(run, self.spool.delivered.model_uri, _points(record["points"])),
            "end": lambda run, record: store.end(run, record["status"], record["time"]),
        }

    def start(self) -> None:
        """Begin to deliver in the background."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new in the spool."""
        self._wake.set()

    def finish(self, timeout: float) -> bool:
        """Deliver what is left, for at most `timeout` seconds, where nobody answers GRACE. True if all went."""
        self._deadline = time.monotonic() + min(timeout, GRACE)
        self._closing.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._stopped = True
        return self.spool.empty

    def interrupt(self, time: int) -> None:
        """Show the run as KILLED as soon as can be; what is still to come is sent after. May be called by a signal."""
        self._killed_at = time  # no lock is taken: the signal may have come while it was held

    def join(self, timeout: float) -> None:
        """Wait for the thread, which ends after the request that it is at."""
        self._thread.join(timeout)

    @property
    def stuck(self) -> bool:
        """The thread is still in the middle of a request."""
        return self._thread.is_alive()

    def deliver_some(self) -> bool:
        """Send the next records, those that fit into one request; False when nothing is left.

        Raises whatever the store raises where it is away; the records stay in the spool.
        """
        run = self._connect()
        lines = list(self.spool.pending(RECORDS_AT_ONCE))
        if lines:
            request = _request(lines)
            try:
                self._send(run, request)
            except Exception as error:
                self._failures += 1
                if isinstance(error, Gone) or not self._hopeless(request):
                    raise
                self._leave_out(request[0], _short(error))
        self._failures = 0
        return bool(lines)

    def deliver_all(self) -> None:
        """Send everything that is left. Raises what the store raised when it no longer answers."""
        while not self._stopped:
            self._show_interrupt()
            try:
                if not self.deliver_some():
                    return
            except Exception:
                if self._failures >= TRIES or not self._answers():
                    raise

    def _loop(self) -> None:
        wait = FIRST_WAIT
        while not self._closing.is_set():
            began = time.monotonic()
            self._show_interrupt()
            try:
                more = self.deliver_some()
            except Exception as error:  # whatever it is, it means: not now
                self._miss(error)
                self._wait(self._closing, wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                self.away, wait = "", FIRST_WAIT
                self._rest(more, time.monotonic() - began)
        while not self._delivered_last() and time.monotonic() < self._deadline and not self._stopped:
            time.sleep(FIRST_WAIT)

    def _delivered_last(self) -> bool:
        try:
            self.deliver_all()
            self.deliver_aside()
        except Exception as error:
            self._miss(error)
            return False
        self.away = ""
        return True

    def _miss(self, error: Exception) -> None:
        if not self.away and not isinstance(error, NotYet):
            _log.warning("tracking is away, its records are kept in %s: %s", self.spool.folder, _short(error))
        self.away = _short(error)

    def _rest(self, more: bool, spent: float) -> None:
        if not more:
            self._wait(self._wake)
            self._wake.clear()
        self._wait(self._closing, max(SHORTEST_PAUSE, REST * spent))

    def _wait(self, flag: Flag, seconds: float = math.inf) -> None:
        """Until the flag is set, so many seconds have passed, or an interrupt came."""
        end = time.monotonic() + seconds
        while not self._killed_at and (left := end - time.monotonic()) > 0 and not flag.wait(min(POLL, left)):
            pass

    def _show_interrupt(self) -> None:
        """The real end comes later, and counts; a process that is killed before leaves no run that seems to run."""
        if self._killed_at and self._run is not None:
            at, self._killed_at = self._killed_at, 0
            with suppress(Exception):  # the end itself is tried again
                self._store.end(self._run.run_id, "KILLED", at)

    def _hopeless(self, request: Sequence[Line]) -> bool:
        """One picture or model must not keep the final status from the run; points are never given up."""
        single = request[0].record["kind"] in SPARED
        return single and self._failures >= TRIES and self._answers()

    def _answers(self) -> bool:
        known = self.spool.delivered.run_id or self.spool.job.run_id
        try:
            self._store.connect(self.spool.job, known)
        except Exception:
            return False
        return True

    def deliver_aside(self) -> None:
        """Try once more what was set aside. Raises what the store raises: it stays set aside then."""
        while self.spool.delivered.aside and not self._stopped:
            run = self._connect() if self._run is None else self._run
            record = self.spool.delivered.aside[0]
            self._did[record["kind"]](run.run_id, record)
            if len(self.spool.delivered.aside) == 1:
                self._store.log(run.run_id, [], {PENDING_TAG: "nothing"})
            self.spool.remember(aside=self.spool.delivered.aside[1:])

    def _leave_out(self, line: Line, why: object) -> None:
        if line.record["kind"] == "model" and self._run is not None:
            self._store.log(self._run.run_id, [], {PENDING_TAG: "model"})  # the run must not seem to be whole
            text = "the model is not in MLflow yet: it is kept in %s, for `distprop sync`: %s"
            _log.warning(text, self.spool.folder, without_secrets(str(why)))
            self.spool.acknowledge(line.end, 1, aside=(line.record,))
            return
        _log.warning("tracking lost a record of kind %s: %s", line.record["kind"], why)
        self.spool.acknowledge(line.end, 1, refused=1)

    def _connect(self) -> Run:
        if self._run is None:
            known = self.spool.delivered.run_id or self.spool.job.run_id
            self._run = self._store.connect(self.spool.job, known)
            self.spool.remember(run_id=self._run.run_id)
            self.ready.set()
        return self._run

    def _send(self, run: Run, lines: Sequence[Line]) -> None:
        records, steps = self._new(run, lines)
        try:
            self._perform(run.run_id, records)
        except Refused as refusal:
            if len(lines) > 1:  # find out which one it is; the others are delivered
                for line in lines:
                    self._send(run, [line])
                return
            self._leave_out(lines[0], refusal)
            return
        self._steps = steps
        last = lines[-1].record
        again = (last,) if last["kind"] == "link" and self.spool.delivered.aside else ()  # when its model is there
        self.spool.acknowledge(lines[-1].end, len(lines), ended=last["kind"] == "end", aside=again)

    def _perform(self, run_id: str, records: Sequence[Record]) -> None:
        if records and records[0]["kind"] in MERGED:
            points = [point for record in records for point in _points_of(record)]
            tags = {name: value for record in records for name, value in record.get("tags", {}).items()}
            self._store.log(run_id, points, tags)
        elif records:
            self._did[records[0]["kind"]](run_id, records[0])

    def _log_model(self, run_id: str, record: Record) -> None:
        uri = self._store.model(run_id, record["folder"], record["version"], record["digest"])
        self.spool.remember(model_uri=uri)

    def _new(self, run: Run, lines: Sequence[Line]) -> tuple[list[Record], dict[str, int]]:
        """Records that the run does not have, and its last steps with them.

        Steps are replayed after a resume or a rollback: the run has them already, with other times.
        """
        steps, new = dict(self._steps), []
        for line in lines:
            metric, step = line.record.get("once"), line.record.get("step", 0)
            if metric is not None:
                if metric not in steps:
                    steps[metric] = self._store.last_step(run.run_id, metric) if run.existed else -1
                if step <= steps[metric]:
                    continue
                steps[metric] = step
            new.append(line.record)
        return new, steps


def _short(error: Exception) -> str:
    told = f"{error.what}: {error.why}; {error.fix}" if isinstance(error, DistpropError) else str(error)
    return cut(without_secrets(" ".join(told.split())) or type(error).__name__, 240)


def _request(lines: Sequence[Line]) -> Sequence[Line]:
    """The first records that one request can carry: points and tags together, any other kind alone."""
    points = 0
    for count, line in enumerate(lines):
        points += len(line.record.get("metrics", ()))
        if line.record["kind"] not in MERGED or (count and points > POINTS_AT_ONCE):
            return lines[: max(1, count)]
    return lines


def _points_of(record: Record) -> list[Point]:
    return [Point(name, value, record["time"], record["step"]) for name, value in record.get("metrics", {}).items()]


def _points(rows: Any) -> list[Point]:
    return [Point(*row) for row in rows]
