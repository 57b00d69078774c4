"""The SQLite file of a local tracking store: made whole or not at all, by one process at a time; looked at first."""

import fcntl
import os
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from distprop.errors import AddressError

SQLITE_MAGIC = b"SQLite format 3\0"
LONGEST_MAKING = 60.0  # seconds to wait for another process that makes the store; tables take a few
REVISION = re.compile(r"""^(revision|down_revision)\s*(?::[^=]+)?=\s*["']([0-9a-f]+)["']""", re.MULTILINE)


class Content(NamedTuple):
    """What a store's tables say. revision: of their schema; stage: of the experiment that was asked for."""

    revision: str | None
    experiments: int
    experiment_id: str | None = None
    stage: str | None = None


def make(path: Path) -> None:
    """Make the store where there is none yet: beside its place, then renamed. Imports MLflow (2-4 s).

    Raises AddressError where the folder does not take it.
    """
    if _has_content(path):
        return
    try:
        with _one_maker(path.absolute().parent):
            if not _has_content(path):
                _make(path)
    except OSError as error:
        raise _cannot_be_made(path, str(error)) from error


def look(path: Path, experiment: str | None = None) -> None:
    """Raise AddressError where `path` is no store that MLflow can use, or where the experiment was deleted.

    Takes milliseconds, and does not import MLflow. A file that is not there yet is fine where it can be made.
    """
    folder = path.absolute().parent
    _require_plain(path)
    if not _has_content(path):
        if not os.access(folder, os.W_OK | os.X_OK):
            why = f"{folder} is not writable" if folder.is_dir() else f"{folder} does not exist"
            raise _cannot_be_made(path, why)
        return
    content = _read(path, experiment)
    _require_schema(path, content, *_schemas())
    if content.stage == "deleted":
        raise deleted_experiment(str(experiment), content.experiment_id)


def require_writable(path: Path) -> None:
    """Raise AddressError where an existing store, or its folder, in which SQLite keeps its journal, is read-only."""
    for place in (path, path.absolute().parent):
        if place.exists() and not os.access(place, os.W_OK):
            raise AddressError(
                f"the tracking store {path} cannot be written",
                f"{place} is not writable by this user",
                f"chmod u+w {place}, or give another `tracking.uri`",
            )


def deleted_experiment(name: str, experiment_id: str | None) -> AddressError:
    """What to say of an experiment that was deleted: MLflow keeps it, and its name, until it is restored."""
    return AddressError(
        f"the experiment {name!r} was deleted",
        "MLflow takes no run in it, and gives its name to no other",
        f"`mlflow experiments restore --experiment-id {experiment_id}`, or name another `tracking.experiment`",
    )


def _require_plain(path: Path) -> None:
    try:
        if path.is_symlink() and not path.exists():
            raise _cannot_be_made(path, f"it is a link to {os.readlink(path)}, which is not there")
        if path.exists() and not path.is_file():
            raise AddressError(f"{path} is no SQLite file", "it is no plain file", "give another `tracking.uri`")
    except OSError as error:
        raise _cannot_be_opened(path, error) from error


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _cannot_be_opened(path, error) from error


def _cannot_be_opened(path: Path, error: OSError) -> AddressError:
    return AddressError(f"the tracking store {path} cannot be opened", str(error), "check the path's folders")


def _cannot_be_made(path: Path, why: str) -> AddressError:
    fix = "make the folder, give it room and access, or give another `tracking.uri`"
    return AddressError(f"the tracking store {path} cannot be made", why, fix)


@contextmanager
def _one_maker(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; without it where the filesystem has none, or its holder makes no progress."""
    place = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + LONGEST_MAKING
        while not _locks(place) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield
    finally:
        os.close(place)


def _locks(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: giving the name is safe all the same
        return True
    return True


def _make(path: Path) -> None:
    for left in path.absolute().parent.glob(f".{path.name}.*.part*"):  # of a process that was killed
        left.unlink(missing_ok=True)
    fresh = path.absolute().with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        _make_tables(fresh)
        _give_name(fresh, path)
    finally:
        for left in fresh.parent.glob(f"{fresh.name}*"):
            left.unlink(missing_ok=True)


def _make_tables(file: Path) -> None:
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH as ARTIFACTS
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    try:
        make_store: Callable[..., Any] = SqlAlchemyStore
        store = make_store(f"sqlite:///{file}", ARTIFACTS)
    except Exception as error:  # SQLAlchemy below MLflow: whatever it says, the place did not take the tables
        raise OSError(" ".join(str(error).split())[:300]) from error
    store.engine.dispose()
    with closing(sqlite3.connect(file)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _settle(file)


def _settle(file: Path) -> None:
    with file.open("rb") as made:
        os.fsync(made.fileno())


def _give_name(fresh: Path, path: Path) -> None:
    """Never over a store with content: two makers may both have no lock."""
    if path.exists() and not _has_content(path):
        path.unlink()
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    except OSError:  # a filesystem without hard links
        fresh.rename(path)


def _read(path: Path, experiment: str | None) -> Content:
    try:
        with path.open("rb") as file:
            if file.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
                raise AddressError(f"{path} is no SQLite file", "it begins differently", "give another `tracking.uri`")
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=10)) as opened:
            return _content(opened, experiment)
    except (OSError, sqlite3.Error) as error:
        raise AddressError(
            f"the tracking store {path} cannot be read",
            str(error),
            "check its permissions; a damaged file is put back from a copy, or moved away: a new one is then made",
        ) from error


def _content(opened: sqlite3.Connection, experiment: str | None) -> Content:
    tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    revisions = (
        opened.execute("SELECT version_num FROM alembic_version").fetchall() if "alembic_version" in tables else []
    )
    revision = str(revisions[0][0]) if revisions else None
    if "experiments" not in tables:
        return Content(revision, 0)
    ((count,),) = opened.execute("SELECT COUNT(*) FROM experiments")
    row = opened.execute(
        "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?", (experiment,)
    ).fetchone()
    return Content(revision, count, *((str(row[0]), str(row[1])) if row else ()))


def _schemas() -> tuple[str | None, frozenset[str]]:
    """The schema of the installed MLflow, and all that it knows; read from its files, as its import takes seconds."""
    found = find_spec("mlflow")
    places = list(found.submodule_search_locations or ()) if found else []
    known: set[str] = set()
    before: set[str] = set()
    for file in (file for place in places for file in Path(place, "store/db_migrations/versions").glob("*.py")):
        with suppress(OSError):
            for kind, name in REVISION.findall(file.read_text(encoding="utf-8")):
                (known if kind == "revision" else before).add(name)
    newest = known - before
    return (newest.pop() if len(newest) == 1 else None), frozenset(known)


def _require_schema(path: Path, content: Content, newest: str | None, known: frozenset[str]) -> None:
    if content.revision is not None and (newest is None or content.revision == newest):
        return
    if not content.experiments:
        raise AddressError(
            f"the tracking store {path} is half made",
            "the process that made its tables was ended in the middle; there is no run in it",
            f"remove it (rm {path}): the next training makes a new one",
        )
    if content.revision in known or content.revision is None:
        fix = f"copy the file, then run `mlflow db upgrade sqlite:///{path.absolute()}`"
    else:
        fix = "install the MLflow that wrote it, or a newer one: pip install --upgrade mlflow"
    why = f"its tables have schema {content.revision}, the installed MLflow has {newest}"
    raise AddressError(f"the tracking store {path} is of another version of MLflow", why, fix)
