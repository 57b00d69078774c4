"""Work in a process of its own, whose arithmetic is in order: the public API called where NumPy is loaded already.

Parent and child have two pipes. Down goes what is to be done, then a byte for each request to end; its closing says
that the parent is gone. Up come events, and last what was made or raised. Nothing of the caller's `__main__` is
imported, so scripts need no guard, and notebooks work.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from distprop import events
from distprop.errors import LostError
from distprop.numerics.kernel import environment
from distprop.report import Result
from distprop.training import frames
from distprop.training.errand import Order
from distprop.training.handing import rows_in_files
from distprop.training.interrupting import Interrupts
from distprop.training.request import Request

INTERRUPT, STOP = b"!", b"."
PATIENCE = 20.0  # seconds for a child to end when it is asked to, or when its work is done


def run_in_child(request: Request, listeners: Sequence[events.Listener] = ()) -> Result:
    """Train as asked in a child; listeners are called here. Raises what the child raises."""
    with rows_in_files(request) as asked:
        result: Result = in_child("train", asked, asked.job.numerics.blas_kernel, listeners)
    return result


def in_child(work: str, argument: Any, kernel: str, listeners: Sequence[events.Listener] = ()) -> Any:
    """Do `work` (a key of errand.WORK) on a picklable argument, in a process that computes with `kernel`.

    A listener that raises Stop, Ctrl-C and SIGTERM ask the child to save and end; a second Ctrl-C ends it.
    Returns what the work returns; raises what it raises, and LostError where the child dies.
    """
    path = tuple(place for place in sys.path if isinstance(place, str))
    order = Order(work, argument, bool(listeners), path, tuple(sys.argv), os.environ.get("PYTHONPATH"))
    with Interrupts() as interrupts, _child(kernel) as child:
        child.send(order)
        interrupts.attend(child.interrupt)
        return _listen(child, events.fan_out(*listeners), interrupts)


class _Child:
    """A running child."""

    def __init__(self, process: "subprocess.Popen[bytes]", down: int, up: BinaryIO) -> None:
        self.process, self._down, self._up = process, down, up
        self._answered = False

    def send(self, order: Order) -> None:
        """Tell it what to do. That it died meanwhile is noticed by who listens."""
        with suppress(BrokenPipeError):
            frames.write(self._down, frames.frame(order))

    def interrupt(self) -> None:
        """Ask it to save and end; the second time, to end."""
        self._say(INTERRUPT)

    def stop(self) -> None:
        """Ask it to save and end because a listener has enough."""
        self._say(STOP)

    def _say(self, request: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._down, request)

    def frames(self) -> Iterator[tuple[str, Any]]:
        """What it says: events, and last its answer, if it lives to give one."""
        while said := frames.read(self._up):
            kind, content = said[0]
            self._answered = kind != "event"
            yield kind, content

    def close(self) -> None:
        """Wait for its end, and see to it where it does not come."""
        if not self._answered:
            self.interrupt()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._down)
        self._up.close()


@contextmanager
def _child(kernel: str) -> Iterator[_Child]:
    """A child, ended with the block. It has a process group of its own: Ctrl-C reaches it through us alone."""
    below, down = os.pipe()
    up, above = os.pipe()
    command = [sys.executable, "-P", "-m", "distprop.training.errand", str(below), str(above)]
    settings = {**os.environ, **environment(kernel), "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    try:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            command, env=settings, stdin=subprocess.DEVNULL, pass_fds=(below, above), process_group=0
        )
    finally:
        os.close(below)
        os.close(above)
    child = _Child(process, down, os.fdopen(up, "rb"))
    try:
        yield child
    finally:
        child.close()


def _listen(child: _Child, heard: events.Listener, interrupts: Interrupts) -> Any:
    for kind, content in child.frames():
        if kind == "made":
            return content
        if kind == "raised":
            raise content
        try:
            heard(content)
        except events.Stop:
            if not interrupts.asked:  # once: the second request would not wait for a checkpoint
                interrupts.asked = True
                child.stop()
    raise _silent_end(child.process)


def _silent_end(process: "subprocess.Popen[bytes]") -> LostError:
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    code = process.returncode
    how = "it does not answer" if code is None else f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    return LostError(
        "the process that did the work ended without an answer",
        f"{how}; signal 9 is often the system's answer to too little memory",
        "look at its messages above; with a run key, the same call goes on from the last checkpoint",
    )
