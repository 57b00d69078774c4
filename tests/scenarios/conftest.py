"""The command line as a user runs it: processes of their own, in a folder of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from distprop.numerics.kernel import environment

LIMIT = 100.0  # seconds that a command may take
FOREIGN = ("RAY_", "MLFLOW_", "DISTPROP_")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Command:
    """A command that runs, with its output in files: no pipe can fill up."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def interrupt(self) -> None:
        """Ctrl-C: the terminal signals the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> Ended:
        """Wait for its end."""
        code = self.process.wait(LIMIT)
        return Ended(code, self.out.read_text(), self.err.read_text())

    def wait_for(self, true: Callable[[], Any], what: str) -> Any:
        """What `true` gives, once it is something, while the command runs."""
        end = time.monotonic() + LIMIT
        while not (found := true()):
            assert self.process.poll() is None, f"ended before {what}: {self.err.read_text()}"
            assert time.monotonic() < end, f"waited in vain until {what}"
            time.sleep(0.01)
        return found


@dataclass
class Desk:
    """A user's folder, and the commands given in it."""

    folder: Path
    variables: dict[str, str]
    commands: list[Command] = field(default_factory=list)

    def start(self, *words: object, **variables: str) -> Command:
        """Start `distprop WORDS`."""
        return self.start_python("-m", "distprop", *words, **variables)

    def start_python(self, *words: object, **variables: str) -> Command:
        """Start a Python of the user's."""
        number = len(self.commands)
        out, err = self.folder.parent / f"{number}.out", self.folder.parent / f"{number}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, *map(str, words)],
                cwd=self.folder,
                env={**self.variables, **variables},
                stdout=out_file,
                stderr=err_file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.commands.append(Command(process, out, err))
        return self.commands[-1]

    def run(self, *words: object, **variables: str) -> Ended:
        """Run `distprop WORDS` to its end."""
        return self.start(*words, **variables).wait()

    def write(self, name: str, job: Mapping[str, Any]) -> str:
        """Write a job's config; JSON is YAML."""
        (self.folder / name).write_text(json.dumps(job))
        return name

    def checkpoints(self) -> list[int]:
        """The versions of the whole checkpoints."""
        return sorted(int(found.parent.name) for found in self.folder.glob("checkpoints/*/*/manifest.json"))

    def alive(self) -> list[int]:
        """The processes that descend from our commands, whoever is their parent by now."""
        mark = f"SCENARIO={self.variables['SCENARIO']}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # gone meanwhile, or not ours
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def end(self) -> None:
        """End, by their ids, all processes that are left."""
        for number in self.alive():
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)
        for command in self.commands:
            command.process.wait(LIMIT)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A user's empty folder, without the addresses and kernels of this test process."""
    folder, ray = tmp_path / "here", tempfile.mkdtemp(prefix="dp-", dir="/tmp")  # short: Ray keeps sockets in it
    folder.mkdir()
    own_tmp = tmp_path / "tmp"
    own_tmp.mkdir()
    taken = environment("auto").keys()
    kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN) and name not in taken}
    own = {
        "HOME": str(tmp_path),
        "DISTPROP_CACHE": str(tmp_path / "cache"),
        "RAY_TMPDIR": ray,
        "TMPDIR": str(own_tmp),
        "SCENARIO": uuid.uuid4().hex,
    }
    made = Desk(folder, {**kept, **own})
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(ray, ignore_errors=True)
