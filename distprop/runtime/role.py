"""A role: one state machine of the protocol and the hands that perform its effects."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from distprop.protocol.effects import Send
from distprop.runtime.timeline import Recorder

State = TypeVar("State")


class Hands(Protocol):
    """Performs effects. All arithmetic, files and clocks are behind it."""

    def perform(self, effect: Any) -> Any:
        """Do what `effect` asks; the message that answers it, or None where that comes later or never."""

    def pack(self, send: Send) -> Send:
        """`send` with every sum in it added up, ready to leave the host."""


class Role(Generic[State]):
    """A machine that is run: messages in, messages out."""

    def __init__(
        self,
        state: State,
        step: Callable[[State, Any], tuple[State, tuple[Any, ...]]],
        hands: Hands,
        recorder: Recorder | None = None,
    ) -> None:
        self.state = state
        self._recorder = recorder or Recorder()
        self._step = step
        self._hands = hands

    def receive(self, message: Any) -> Iterator[Send]:
        """Let the machine hear `message`; yields what it sends, as soon as it does."""
        heard = [message]
        for said in heard:  # answers are put behind while this goes on
            self.state, actions = self._step(self.state, said)
            for action in actions:
                if type(action) is Send:
                    yield self._pack(action)
                elif (answer := self.perform(action)) is not None:
                    heard.append(answer)

    def _pack(self, send: Send) -> Send:
        if not self._recorder.on:
            return self._hands.pack(send)
        with self._recorder.span(type(send.message)):
            return self._hands.pack(send)

    def perform(self, effect: Any) -> Any:
        """Do what `effect` asks; gives the message that answers it, if one does."""
        if not self._recorder.on:
            return self._hands.perform(effect)
        with self._recorder.span(type(effect)):
            return self._hands.perform(effect)
