"""Ctrl-C and SIGTERM: the first asks the job to save and end, the second ends it. Before training, the first does."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

STOP = signal.SIGUSR1
"""What says to a process of our own that a listener has enough."""


class Interrupts:
    """While in force, signals and `ask` reach whoever attends. Signals only where this is the main thread."""

    def __init__(self) -> None:
        self.asked = self.stopped = False
        self._attend: Callable[[], None] | None = None
        self._told: list[Callable[[], None]] = []
        self._before: dict[int, Any] = {}

    def attend(self, interrupt: Callable[[], None]) -> None:
        """Call `interrupt` when the job is asked to end; at once where it was asked before."""
        self._attend = interrupt
        if self.asked:
            interrupt()

    def tell(self, listener: Callable[[], None]) -> None:
        """Call `listener`, too, when the job is asked to end. It takes no locks: a signal's handler calls it."""
        self._told.append(listener)

    def ask(self) -> None:
        """Ask the job to save and end."""
        self.asked = True
        for listener in self._told:
            listener()
        if self._attend is not None:
            self._attend()

    def stop(self) -> None:
        """Ask so because a listener has enough: what is there by then is wanted, and nobody is in a hurry."""
        self.stopped = True
        self.ask()

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
            if signal.getsignal(STOP) is signal.SIG_IGN:  # in a child; elsewhere this signal is the user's own
                self._before[STOP] = signal.signal(STOP, lambda *_: self.stop())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what Python passes
        if self.asked or self._attend is None:
            raise KeyboardInterrupt
        self.ask()
