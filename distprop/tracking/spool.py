"""A queue on disk between a job and the tracking server: what was appended survives the process, and is delivered once.

    FOLDER/job.json       where the run belongs: address, experiment, name, token
    FOLDER/records.jsonl  one record a line, only ever appended to
    FOLDER/state.json     how far delivery came (bytes), and what the server answered: run id, model address
    FOLDER/files/         what must outlive the process until it is delivered, such as the model

One thread appends, another reads and acknowledges. The file is the queue: memory stays small, however long the
server is away; only while the disk is full do new records wait in memory, up to a limit.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from distprop.errors import CheckpointError, UserError
from distprop.tracking.record_file import RecordFile

RECORDS, STATE, JOB, FILES = "records.jsonl", "state.json", "job.json", "files"

HANDLE = "spool:"  # before a token, where a run has no id yet

Record = dict[str, Any]


@dataclass(frozen=True)
class SpoolJob:
    """Where a spool's records belong. `token` names the job before the server gave it a run id."""

    uri: str
    experiment: str
    run_name: str
    token: str
    started: int  # milliseconds since the epoch
    run_id: str | None = None  # of the run to go on with
    parent: str | None = None  # the run that it is shown in: its id, or spool:TOKEN


@dataclass(frozen=True)
class Delivered:
    """How far delivery came: all records before `offset` bytes are with the server, or were refused by it."""

    offset: int = 0
    records: int = 0
    refused: int = 0
    run_id: str | None = None
    model_uri: str | None = None
    ended: bool = False
    notes: dict[str, Any] = field(default_factory=dict)
    aside: tuple[Record, ...] = ()  # tried in vain, and kept so that the records behind them could go on


class Line(NamedTuple):
    """A record and where its line ends."""

    record: Record
    end: int


class Spool:
    """One job's queue in `folder`; holds the folder's lock as long as it is open."""

    def __init__(self, folder: Path, job: SpoolJob, file: RecordFile, delivered: Delivered) -> None:
        self.folder, self.job = folder, job
        self._file = file
        self.delivered = delivered
        self.records = delivered.records + sum(1 for _ in self.pending())

    @classmethod
    def create(cls, folder: Path, job: SpoolJob) -> "Spool":
        """A new spool in a folder that does not exist yet. Raises UserError where it cannot be made."""
        try:
            folder.mkdir(parents=True)
            _write(folder / JOB, asdict(job))
            file = RecordFile(folder / RECORDS)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(
                f"the records of the run cannot be kept in {folder.parent}",
                f"{error.strerror or error}",
                "make room or give access there, or name another `checkpoint.dir`",
            ) from error
        return cls(folder, job, file, Delivered())

    @classmethod
    def open(cls, folder: Path) -> "Spool":
        """An existing spool, with what its last process left undelivered.

        Raises CheckpointError where there is none or where a running job holds it.
        """
        try:
            job = SpoolJob(**json.loads((folder / JOB).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{folder} is no spool of a run",
                str(error),
                "`distprop sync` takes a run's id or its spool's folder",
            ) from error
        delivered = _read_state(folder / STATE)
        return cls(folder, job, RecordFile(folder / RECORDS, delivered.offset), delivered)

    def append(self, record: Record) -> None:
        """Add a record at the end; with the operating system when this returns, so the process may die.

        While the disk is full it is in memory. Raises OSError where that, too, is at its limit.
        """
        self._file.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        self.records += 1

    def pending(self, most: int | None = None) -> Iterator[Line]:
        """Records not acknowledged, oldest first, at most `most`. A line still being written is left."""
        for line, end in islice(self._file.lines(self.delivered.offset), most):
            yield Line(json.loads(line), end)

    @property
    def empty(self) -> bool:
        """Everything is delivered."""
        return self.delivered.offset >= self._file.size and not self.delivered.aside

    @property
    def unsaved(self) -> int:
        """Records that are in memory only, as the disk has no room."""
        return self._file.unsaved

    def acknowledge(
        self, offset: int, records: int, *, refused: int = 0, ended: bool = False, aside: tuple[Record, ...] = ()
    ) -> None:
        """The next `records` records, up to byte `offset`, need not be sent again."""
        self.remember(
            offset=offset,
            records=self.delivered.records + records,
            refused=self.delivered.refused + refused,
            ended=self.delivered.ended or ended,
            aside=(*self.delivered.aside, *aside),
        )
        self._file.forget(offset)

    def remember(self, **changes: Any) -> None:
        """Note what the server answered. With a full disk the note is older: records are sent again, and count once."""
        self.delivered = replace(self.delivered, **changes)
        with suppress(OSError):
            _write(self.folder / STATE, asdict(self.delivered))

    def save(self) -> None:
        """Give the disk what waits in memory, as far as it has room by now."""
        self._file.save()

    def keep(self, folder: Path, name: str) -> Path:
        """A copy of `folder` under files/, by hard links where the disk allows it: it costs nothing."""
        target = self.folder / FILES / name
        if not target.exists():
            shutil.copytree(folder, target, copy_function=_link_or_copy)
        return target

    def close(self, *, remove: bool = False) -> None:
        """Release the lock; `remove` when nothing is left to deliver."""
        self._file.close()
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # others' spools are in it
                self.folder.parent.rmdir()


def find(spool_dir: Path, name: str) -> Path | None:
    """The spool under `spool_dir` that belongs to a run id or token; None where everything was delivered."""
    for job in sorted(spool_dir.glob(f"*/{JOB}")):
        if name in _names(job.parent):
            return job.parent
    return None


def find_all(spool_dir: Path, name: str) -> list[Path]:
    """The spool of a run id or token, where there is one, and behind it those of the runs that are shown in it."""
    own = find(spool_dir, name)
    names = _names(own) if own is not None else {name}
    handles = names | {HANDLE + one for one in names}
    jobs = [job for job in sorted(spool_dir.glob(f"*/{JOB}")) if job.parent != own]
    inner = [job.parent for job in jobs if _described(job).get("parent") in handles]
    return [*([own] if own is not None else []), *inner]


def _names(folder: Path) -> set[str]:
    """What the run of a spool is called: its token, and its id where it has one."""
    described = _described(folder / JOB)
    known = (described["token"], described["run_id"], _read_state(folder / STATE).run_id)
    return {name for name in known if name}


def _described(job: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(job.read_text(encoding="utf-8"))
    return described


def _read_state(path: Path) -> Delivered:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Delivered(**{**stored, "aside": tuple(stored.get("aside", ()))})
    except FileNotFoundError:
        return Delivered()


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        return str(shutil.copy2(source, target))
    return target
