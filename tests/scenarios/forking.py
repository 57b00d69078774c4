"""A process that has loaded what commands load, and forks for each: a command takes a tenth of its time.

`python -m tests.scenarios.forking` reads orders, one JSON object a line, and answers each with an exit code.
"""

import ctypes
import gc
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

LIMIT = 60.0  # seconds that a command may take
LOADED = (
    "cli",
    "cli.pages",
    "cli.scoring",
    "cli.prediction_file",
    "cli.writing",
    "config",
    "config.schema",
    "console",
    "data.importing",
    "data.inspecting",
    "model",
    "runtime.inline",
    "tracking.fetching",
    "tracking.rates",
    "tracking.runs",
    "tracking.sync",
    "tracking.tracker",
    "training",
    "training.running",
)
RIGHTS = 0b11111  # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Order:
    """A command and the process that it gets.

    streams: descriptor -> "full" or "gone". limits: of `resource`, RLIMIT_AS and RLIMIT_NOFILE beyond
    what is in use. ordinary: without root's right to read and write what permissions forbid. vanish: the folder is
    removed before.
    """

    words: Sequence[str]
    folder: str
    variables: Mapping[str, str | None] = field(default_factory=dict)
    streams: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    ordinary: bool = False
    vanish: bool = False


class Forking:
    """The process from outside; use it as a context manager."""

    def __init__(self, place: Path, variables: Mapping[str, str]) -> None:
        self._out, self._err = place / "out", place / "err"
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.forking", str(self._out), str(self._err)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(variables), cwd=root, text=True,
        )  # fmt: skip

    def __enter__(self) -> "Forking":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._process.stdout.close()

    def run(self, order: Order) -> tuple[int | None, str, str]:
        """Exit code (None: it did not end), standard output, standard error."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order.__dict__) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        return code, self._out.read_text(errors="replace"), self._err.read_text(errors="replace")


def main(out: str, err: str) -> None:
    """Answer orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    _load()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _be(Order(**json.loads(line)), out, err)
            return
        print(json.dumps(_code_of(child)), file=answers, flush=True)


def _load() -> None:
    warnings.simplefilter("ignore")
    for name in LOADED:
        import_module(f"distprop.{name}")
    import_module("distprop.tracking.address").settle_environment()
    for name in ("mlflow.tracking", "mlflow.artifacts", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.figure"):
        import_module(name)
    gc.collect()
    gc.freeze()


def _code_of(child: int) -> int | None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _be(order: Order, out: str, err: str) -> None:
    """Be the command, and end as it does: with all that Python does at the end."""
    os.setsid()
    os.chdir(order.folder)
    for name, text in order.variables.items():
        os.environ.pop(name, None)
        if text is not None:
            os.environ[name] = text
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in ((1, out), (2, err)):
        kept = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(_stream(order.streams.get(str(number)), kept), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if order.vanish:
        os.rmdir(order.folder)
    if order.ordinary:
        _drop_rights()
    for name, most in order.limits.items():
        _limit(name, most)
    sys.argv = ["distprop", *order.words]
    import_module("distprop.cli").main(list(order.words), prog_name="distprop")


def _stream(how: str | None, kept: int) -> int:
    if how == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if how == "gone":
        reads, writes = os.pipe()
        os.close(reads)
        return writes
    return kept


def _limit(name: str, most: int) -> None:
    if name == "RLIMIT_AS":
        most += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if name == "RLIMIT_NOFILE":
        os.closerange(3, 1024)
        most += 3
    resource.setrlimit(getattr(resource, name), (most, most))


def _drop_rights() -> None:
    """As capset(2) has it: 64 capabilities in two thirds of 3 numbers, effective, permitted, inheritable."""
    if os.geteuid() != 0:
        return
    head, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if LIBC.capget(head, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for place in range(3):
        sets[place] &= ~RIGHTS
    if LIBC.capset(head, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def possible() -> str:
    """Why no process can be forked so here; empty where it can."""
    return "" if platform.system() == "Linux" else "fork, capabilities and /dev/full are Linux'"


if __name__ == "__main__":
    main(*sys.argv[1:])
