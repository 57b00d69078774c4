"""Each command in a world that refuses it something: told as what / why / fix, never as a mistake of ours."""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from distprop.numerics.kernel import environment
from tests.scenarios.conftest import FOREIGN
from tests.scenarios.forking import Forking, Order, possible
from tests.scenarios.making import job, write_rows

pytest.importorskip("mlflow")
pytestmark = [pytest.mark.scenario, pytest.mark.skipif(bool(possible()), reason=possible())]

EXIT_CODES = (0, 1, 2, 130)
NEVER = re.compile(
    r"mistake in distprop|Traceback|Exception ignored|operating system refused what|^[A-Z]\w+Error:", re.M
)
LATE = "checkpoints/late/spool/token"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "init": ("init", "rows.parquet", "--target", "label", "--out", "new.yaml"),
    "import": ("import", "rows.csv", "--out", "imported"),
    "show": ("show", "job.yaml"),
    "check": ("check", "job.yaml"),
    "train": ("train", "job.yaml", "--inline"),
    "train as JSON": ("train", "job.yaml", "--inline", "--json"),
    "resume": ("resume", "checkpoints/half", "--inline"),
    "resume by id": ("resume", "RUN", "--inline"),
    "list": ("list",),
    "evaluate": ("evaluate", "model", "rows.parquet"),
    "evaluate by address": ("evaluate", "MODEL", "rows.parquet"),
    "predict": ("predict", "model", "rows.parquet", "--out", "p.parquet"),
    "find-rate": ("find-rate", "job.yaml", "--inline", "--steps", "10"),
    "sync": ("sync", LATE),
    "ui": ("ui", "--port", "PORT"),
}
MLFLOW = ("train", "list", "evaluate by address", "resume by id", "sync", "check")
ALL = tuple(COMMANDS)


class World(NamedTuple):
    """What is wrong, and what one command at least says of it. room: on a small disk; readonly: which is read-only."""

    says: str
    commands: tuple[str, ...] = ALL
    make: Callable[[Path], object] = lambda here: None  # noqa: ARG005
    room: str | None = None
    readonly: bool = False
    codes: tuple[int, ...] = EXIT_CODES
    process: Mapping[str, Any] = {}


def fill(here: Path) -> None:
    """Take all room of the disk, to the last byte."""
    with (here / "filler").open("wb", buffering=0) as filler:
        for size in (4096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


def closed(*names: str) -> Callable[[Path], object]:
    return lambda here: [(here / name).chmod(0) for name in names]


def recoded(name: str, encoding: str) -> Callable[[Path], object]:
    def make(here: Path) -> None:
        text = (here / name).read_text().replace('"x0"', '"xé0"').replace("{", "{ # é\n", 1)
        (here / name).write_bytes(text.encode(encoding))

    return make


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else under a name of the world."""

    def replace(here: Path) -> None:
        place = here / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        make(place)

    return replace


def write(file: Path) -> None:
    """No store."""
    file.write_text("hello" * 99)


def cut(file: Path) -> None:
    """The first half of a store."""
    content = (file.parent / "kept.db").read_bytes()
    file.write_bytes(content[: len(content) // 2])


def of_schema(revision: str) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        shutil.copy(file.parent / "kept.db", file)
        with sqlite3.connect(file) as store:
            store.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        store.close()

    return make


def given(**settings: Any) -> Mapping[str, Any]:
    return settings


def variables(**changed: str | None) -> Mapping[str, Any]:
    return {"variables": changed}


WRITES = ("init", "import", "train", "predict", "find-rate", "sync")
READS = ("init", "check", "train", "evaluate", "predict")
WORLDS = {
    "full disk": World("why: the disk is full", make=fill, room="32m"),
    "full disk, none of the cache": World(
        "why: the disk is full", ("init", "import", "train", "predict"), room="32m",
        make=lambda here: (shutil.rmtree(here / "cache"), fill(here)),
    ),
    "read-only": World("why: it is on a filesystem that is read-only", room="32m", readonly=True),
    "standard output full": World(
        "why: the disk is full", ("show", "check", "list", "evaluate", "find-rate"),
        process=given(streams={"1": "full"})),
    "standard output full, work done": World(
        "standard output takes nothing", ("import", "train as JSON", "resume", "predict"), codes=(0,),
        process=given(streams={"1": "full"}),
    ),
    "standard output unread": World(
        "", ("show", "check", "list", "evaluate", "find-rate", "train as JSON"), codes=(0,),
        process=given(streams={"1": "gone"})),
    "standard error full": World(
        "next: distprop", ("init", "train", "sync"), codes=(0,), process=given(streams={"2": "full"})
    ),
    "standard error unread": World(
        "next: distprop", ("import", "train", "predict"), codes=(0,), process=given(streams={"2": "gone"})
    ),
    "nobody hears": World(
        "", ("init", "train as JSON"), codes=(0,), process=given(streams={"1": "gone", "2": "gone"})
    ),
    "folder closed to writing": World(
        "why: this user has no permission", make=lambda here: here.chmod(0o555), process=given(ordinary=True)
    ),
    "files closed to reading": World(
        "why: this user has no permission", ("init", "import", "train", "evaluate", "predict", "sync", "list"),
        make=closed("rows.parquet", "rows.csv", "mlflow.db", "model/model.json", f"{LATE}/job.json"),
        process=given(ordinary=True),
    ),
    "folders closed": World(
        "why: this user has no permission", ("train", "resume", "evaluate", "predict", "sync", "import"),
        make=closed("checkpoints", "model", "cache", "tmp"), process=given(ordinary=True),
    ),
    "store is garbage": World("is no SQLite file", MLFLOW, instead("mlflow.db", write)),
    "store is cut": World("error: the tracking store", MLFLOW, instead("mlflow.db", cut)),
    "store is a folder": World("is no SQLite file", MLFLOW, instead("mlflow.db", Path.mkdir)),
    "store is a pipe": World("is no SQLite file", MLFLOW, instead("mlflow.db", os.mkfifo)),
    "store is a link to nowhere": World(
        "which is not there", MLFLOW, instead("mlflow.db", lambda file: file.symlink_to("gone/mlflow.db"))
    ),
    "store of an older MLflow": World(
        "mlflow db upgrade", MLFLOW, instead("mlflow.db", of_schema("451aebb31d03"))
    ),
    "store of an unknown MLflow": World(
        "of another version", MLFLOW, instead("mlflow.db", of_schema("f" * 12))
    ),
    "no driver for the store": World(
        "", ("list", "evaluate by address"), process=variables(MLFLOW_TRACKING_URI="mysql://nobody@127.0.0.1:1/runs")
    ),
    "unknown kind of store": World("error:", MLFLOW, process=variables(MLFLOW_TRACKING_URI="foo://bar")),
    "store on no disk": World(
        "cannot be made", ("train", "check"), process=variables(MLFLOW_TRACKING_URI="sqlite:////proc/none/mlflow.db")
    ),
    "config in UTF-16": World("it is no UTF-8 text", ("show", "train"), recoded("job.yaml", "utf-16")),
    "config in Latin-1": World("it is no UTF-8 text", ("show", "train"), recoded("job.yaml", "latin-1")),
    "CSV in UTF-16": World("error:", ("import",), recoded("rows.csv", "utf-16")),
    "CSV in Latin-1": World("iconv", ("import",), recoded("rows.csv", "latin-1")),
    "rows are a folder": World("has no Parquet files", READS, instead("rows.parquet", Path.mkdir)),
    "rows are a pipe": World("error:", READS, instead("rows.parquet", os.mkfifo)),
    "rows are a device": World(
        "error:", READS, instead("rows.parquet", lambda file: file.symlink_to("/dev/zero"))
    ),
    "rows are a link to itself": World(
        "error:", READS, instead("rows.parquet", lambda file: file.symlink_to(file))
    ),
    "CSV is a pipe": World("is no plain file", ("import",), instead("rows.csv", os.mkfifo)),
    "config is a device": World(
        "longer than", ("show", "train"), instead("job.yaml", lambda file: file.symlink_to("/dev/zero"))
    ),
    "weights are a pipe": World(
        "no plain one", ("evaluate", "predict"), instead("model/weights.safetensors", os.mkfifo)
    ),
    "checkpoints are a file": World("error:", ("train", "resume", "check"), instead("checkpoints", Path.touch)),
    "cache and tmp are files": World(
        "", ("init", "import", "train", "predict", "evaluate by address"),
        lambda here: [instead(name, Path.touch)(here) for name in ("cache", "tmp")]
    ),
    "no large files": World("larger than is allowed", WRITES, process=given(limits={"RLIMIT_FSIZE": 100})),
    "no files that hold a model": World(
        "no checkpoint at step 10", ("train",), codes=(1,), process=given(limits={"RLIMIT_FSIZE": 800})
    ),
    "no open files": World(
        "may open no more files", ("init", "import", "predict", "list"), process=given(limits={"RLIMIT_NOFILE": 1})
    ),
    "no home": World("", ("init", "train", "list"), process=variables(HOME=None, DISTPROP_CACHE=None)),
    "home is no folder": World(
        "", ("init", "train", "list"), process=variables(HOME="/proc/none", DISTPROP_CACHE=None)),
    "odd place and time": World("", ("list", "show", "train"), process=variables(LC_ALL="C", TZ="No/Such")),
}  # fmt: skip
NAMES = {
    "too long": "n" * 300,
    "too long a path": "n/" * 3000 + "n",
    "not UTF-8": "\udcff\udcfe.yaml",
    "a folder": "checkpoints",
    "in a file": "rows.csv/inner",
}


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Forking, Path]]:
    """The process that forks, and the folder that all commands are given in."""
    place = tmp_path_factory.mktemp("worlds")
    here = place / "here"
    kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
    own = {"HOME": str(place), "TMPDIR": str(place), "DISTPROP_CACHE": str(here / "cache"), **environment("auto")}
    with Forking(place, {**kept, **own, "PYTHONUNBUFFERED": ""}) as process:
        yield process, here


@pytest.fixture(scope="module")
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture(scope="module")
def ids(forking: tuple[Forking, Path], new_store: Path, taken: int) -> dict[str, str]:
    """A folder with a finished training, one that was ended, and records that wait; kept beside, to be copied."""
    process, here = forking
    here.mkdir()
    for name in ("tmp", "cache"):
        (here / name).mkdir()
    pyarrow.csv.write_csv(pq.read_table(write_rows(here / "rows.parquet")), here / "rows.csv")
    shutil.copy(new_store, here / "mlflow.db")
    short = {"train": {"epochs": 1, "evaluate_every": "1 epoch"}, "checkpoint": {"every": "10 steps", "keep_last": 9}}
    (here / "job.yaml").write_text(json.dumps(job(**short)))
    code, out, err = process.run(Order(("train", "job.yaml", "--inline", "--json", "--run-key", "half"), str(here)))
    assert code == 0, err
    made = here / "checkpoints/half"
    (made / "model").rename(here / "model")
    (made / "result.json").unlink()
    for version in sorted(made.glob("0*"))[1:]:
        shutil.rmtree(version)
    _leave_records(here)
    shutil.copy(here / "mlflow.db", here / "kept.db")
    here.rename(here.with_name("kept"))
    ended = json.loads(out)
    return {"RUN": ended["run_id"], "MODEL": ended["model_uri"], "PORT": str(taken)}


def _leave_records(here: Path) -> None:
    from distprop.tracking.spool import Spool, SpoolJob

    folder = here / LATE
    left = Spool.create(folder, SpoolJob(f"sqlite:///{here}/mlflow.db", "scenarios", "late", "token", 1))
    left.append({"kind": "points", "step": 1, "time": 1, "metrics": {"train/loss": 1.0}, "once": None})
    left.close()


@contextmanager
def fresh(here: Path, room: str | None = None) -> Iterator[None]:
    """The folder as it was; room: on a disk of its own."""
    here.mkdir()
    if (
        room
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", here], capture_output=True
        ).returncode
    ):
        here.rmdir()
        pytest.skip("a disk of its own cannot be mounted here")
    try:
        shutil.copytree(here.with_name("kept"), here, dirs_exist_ok=True, symlinks=True)
        yield
    finally:
        if room:
            subprocess.run(["umount", "--lazy", here], check=True)
        else:
            for folder in (here, *(one for one in here.iterdir() if one.is_dir() and not one.is_symlink())):
                folder.chmod(0o755)
        shutil.rmtree(here)


def words_of(name: str, ids: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(ids.get(word, word) for word in COMMANDS[name])


def faults(ended: tuple[int | None, str, str], codes: tuple[int, ...] = EXIT_CODES) -> list[str]:
    """What nobody should see of a command."""
    code, out, err = ended
    found = NEVER.search(f"{out}\n{err}")
    return [*([f"exit code {code}"] if code not in codes else []), *([found[0]] if found else [])]


@pytest.mark.parametrize("name", WORLDS)
def test_what_the_world_refuses_is_no_mistake_of_ours(
    name: str, forking: tuple[Forking, Path], ids: dict[str, str]
) -> None:
    (process, here), world = forking, WORLDS[name]
    wrong, said = {}, ""
    for command in world.commands:
        with fresh(here, world.room):
            world.make(here)
            if world.readonly:
                subprocess.run(["mount", "-o", "remount,ro", here], check=True)
            ended = process.run(Order(words_of(command, ids), str(here), **_process(world, here)))
        said += ended[1] + ended[2]
        if found := faults(ended, world.codes):
            wrong[command] = (found, ended)
    assert wrong == {}
    assert world.says in said


def _process(world: World, here: Path) -> dict[str, Any]:
    changed = {"TMPDIR": str(here / "tmp"), **world.process.get("variables", {})}
    return {**world.process, "variables": changed}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_be_is_no_mistake_of_ours(
    name: str, forking: tuple[Forking, Path], ids: dict[str, str]
) -> None:
    """In the place of each word that is a path."""
    (process, here), wrong = forking, {}
    paths = {"rows.parquet", "rows.csv", "job.yaml", "model", "new.yaml", "imported", "p.parquet", "checkpoints/half"}
    for command in ("init", "import", "show", "resume", "evaluate", "predict", "sync"):
        words = words_of(command, ids)
        for place in (place for place, word in enumerate(words) if word in paths):
            given = (*words[:place], NAMES[name], *words[place + 1 :])
            with fresh(here):
                ended = process.run(Order(given, str(here)))
            if found := faults(ended):
                wrong[given] = (found, ended)
    assert wrong == {}


@pytest.mark.parametrize("command", ["list", "train", "init", "predict"])
def test_a_current_folder_that_is_gone_is_told(
    command: str, forking: tuple[Forking, Path], ids: dict[str, str]
) -> None:
    process, here = forking
    here.mkdir()
    code, out, err = process.run(Order(words_of(command, ids), str(here), vanish=True))
    assert code == 2 and "the current folder" in err and not faults((code, out, err))
