"""Runs the roles of a job in one process, one message at a time, in an order that is an argument.

With `InOrder` it is how a job runs inline. With a fate that reorders, repeats and loses messages it is deterministic
simulation: the same fate gives the same run, so a failing schedule can be replayed.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from distprop.errors import LostError
from distprop.protocol.effects import Send
from distprop.protocol.messages import Address, Tick
from distprop.runtime.role import Role

PATIENCE = 50
"""Ticks in a row that may change nothing before a job is called stuck."""


def _nothing() -> None:
    """What happens between messages, where nobody asks for more."""


class Fate(Protocol):
    """Decides what becomes of messages."""

    def pick(self, waiting: int) -> int:
        """Which of `waiting` messages is delivered next."""

    def copies(self, send: Send) -> int:
        """How often a message arrives: 1, or 0 where it is lost, or more."""


class InOrder:
    """Every message arrives once, in the order of sending."""

    def pick(self, waiting: int) -> int:  # noqa: ARG002 - the first, however many there are
        """The oldest."""
        return 0

    def copies(self, send: Send) -> int:  # noqa: ARG002 - whatever it is
        """Once."""
        return 1


class Scheduler:
    """Delivers messages between roles until `done`."""

    def __init__(self, fate: Fate | None = None) -> None:
        self.roles: dict[Address, Role[Any]] = {}
        self.waiting: list[Send] = []
        self._fate = fate or InOrder()

    def post(self, sends: Iterable[Send]) -> None:
        """Take messages on their way."""
        for send in sends:
            self.waiting.extend([send] * self._fate.copies(send))

    def deliver(self, send: Send) -> None:
        """Hand one message over; what nobody is there to hear is lost."""
        role = self.roles.get(send.to)
        if role is not None:
            self.post(role.receive(send.message))

    def run(
        self, done: Callable[[], bool], progress: Callable[[], Any], on_step: Callable[[], None] = _nothing
    ) -> None:
        """Deliver until `done()`. Raises LostError where `progress()` stays the same for PATIENCE ticks."""
        silent, known = 0, progress()
        while not done():
            on_step()
            if self.waiting:
                self.deliver(self.waiting.pop(self._fate.pick(len(self.waiting))))
                continue
            before, known = known, progress()
            silent = silent + 1 if before == known else 0
            if silent > PATIENCE:
                raise LostError("the job stands still", f"nobody among {sorted(self.roles)} has anything new to say")
            self.tick()

    def tick(self) -> None:
        """Let every role say again what may have been lost."""
        for address in list(self.roles):
            self.deliver(Send(address, Tick()))
