"""`python -m distprop.training.errand`: the child that `distprop.training.child` starts, and its side of the pipes."""

import os
import pickle
import select
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from distprop import events
from distprop.errors import DistpropError, TrainingError
from distprop.training import frames
from distprop.training.interrupting import STOP

WORK: Mapping[str, str] = {
    "train": "distprop.training.running:run",
    "check": "distprop.training.checking:check_here",
}
"""What a child can be asked to do: functions of an argument and listeners."""

ORPHAN_PATIENCE = 120.0  # seconds for a child without a parent to save and end


@dataclass(frozen=True)
class Order:
    """What a child is started for, and what it takes over from its parent."""

    work: str  # a key of WORK
    argument: Any
    listened: bool  # whether events are wanted
    path: tuple[str, ...]  # sys.path
    arguments: tuple[str, ...]  # sys.argv
    pythonpath: str | None


def main(below: int, above: int) -> None:
    """Do what the parent orders: read from pipe `below`, answer on pipe `above`.

    The pipes are for this process alone, not for those that it starts: they would keep them open.
    """
    signal.signal(STOP, signal.SIG_IGN)  # until there is somebody to be stopped
    os.set_inheritable(below, False)
    os.set_inheritable(above, False)
    parent = os.getppid()
    for order in frames.read(os.fdopen(below, "rb", buffering=0, closefd=False)):
        threading.Thread(target=_attend, args=(below, parent), daemon=True).start()
        answer = _answer(order, above)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on there is nothing to be ended
        _write(above, answer)


def _answer(order: Order, above: int) -> bytes:
    """Do the work; the last frame, with what it made or raised."""
    try:
        _take_over(order)
        module, _, name = WORK[order.work].partition(":")
        listeners = [_forward(above)] if order.listened else []
        return frames.frame(("made", getattr(import_module(module), name)(order.argument, listeners)))
    except BaseException as error:
        return frames.frame(("raised", portable(error)))


def _take_over(order: Order) -> None:
    """Be as the parent is, for modules that a job names and for the processes that this one starts."""
    sys.path[:], sys.argv[:] = order.path, order.arguments
    os.environ.pop("PYTHONPATH", None)
    if order.pythonpath is not None:
        os.environ["PYTHONPATH"] = order.pythonpath


def _forward(above: int) -> events.Listener:
    def forward(event: events.Event) -> None:
        _write(above, frames.frame(("event", event)))

    return forward


def _write(above: int, framed: bytes) -> None:
    """Where the parent is gone, the attending thread ends this process in its own way."""
    with suppress(BrokenPipeError):
        frames.write(above, framed)


def portable(error: BaseException) -> BaseException:
    """The error as it can travel. One that nobody foresaw takes its traceback along as a note."""
    if not isinstance(error, DistpropError | KeyboardInterrupt):
        error.add_note("In the process that did the work:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made a moment ago
    except Exception:
        text = "".join(traceback.format_exception(error))
        return TrainingError(f"{type(error).__name__}: {error}", text, "look at where it happened")
    return error


def _attend(below: int, parent: int) -> None:
    """Pass the parent's requests on as signals; without a parent, save and end."""
    while os.getppid() == parent:
        ready, _, _ = select.select([below], [], [], 1.0)
        request = os.read(below, 1) if ready else None
        if request == b"":
            break
        if request:
            os.kill(os.getpid(), STOP if request == b"." else signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(ORPHAN_PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    from distprop.training import errand  # by its name: what is pickled belongs to that module, not to __main__

    errand.main(int(sys.argv[1]), int(sys.argv[2]))
