"""The coordinator's process: connections to all servers, and the session that is conducted over them."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from distprop.errors import LostError
from distprop.events import HostSampled
from distprop.protocol import coordinator, messages
from distprop.protocol.course import Round
from distprop.protocol.effects import Finish
from distprop.protocol.messages import COORDINATOR, Address
from distprop.runtime.process.gauges import Alive, Sample
from distprop.runtime.process.parcel import Parcel, unpack
from distprop.runtime.process.server import Door
from distprop.runtime.role import Role
from distprop.runtime.session import Session
from distprop.runtime.timeline import Spans
from distprop.runtime.wire.post import Mail, Post
from distprop.runtime.wire.reaching import reach
from distprop.runtime.wire.seal import Credentials

TICK = 0.5  # seconds
STUCK = 900.0
"""Seconds in which nothing at all may move, although every server is heard: longer than any step or evaluation."""


class CoordinatorProcess:
    """Conducts sessions over the servers behind `doors`.

    watch: called with every tick and with the round up to which everything was heard; may raise.
    """

    def __init__(
        self,
        doors: Mapping[int, Door],
        secret: bytes,
        patience: float,
        watch: Callable[[Round], None],
        credentials: Credentials | None = None,
    ) -> None:
        self._post, self._patience, self._watch = Post(), patience, watch
        self._interrupt = False
        self._hosts = {number: door.address[0] for number, door in doors.items()}
        self._heard = dict.fromkeys(doors, time.monotonic())
        for number, door in doors.items():
            self._post.connect(Address("server", number), reach(door.address, secret, COORDINATOR, credentials))

    def run(self, session: Session, workers: Collection[int], lost: Collection[int]) -> Finish:
        """Conduct a session to its end. Raises LostError where a server is gone or nothing moves any more.

        workers: those that are up. lost: those whose loss has been heard of.
        """
        state, actions = coordinator.begin(session.opening, workers, lost)
        role = Role(state, coordinator.step, session.desk)
        for send in actions:
            self._post.send(send.to, send.message)
        turned = ticked = moved = time.monotonic()
        self._heard = dict.fromkeys(self._heard, moved)
        progress = role.state.progress
        while session.desk.ended is None:
            for mail in self._post.poll(TICK):
                self._hear(mail, role, session)
            now = time.monotonic()
            if now - turned > 2 * TICK:  # a listener or a disk held us up: what was said meanwhile is still unheard
                self._heard = dict.fromkeys(self._heard, now)
            turned = now
            if role.state.progress != progress:
                moved, progress = now, role.state.progress
            if self._interrupt:
                self._interrupt = False
                self._receive(messages.Interrupt(), role)
            if now - ticked > TICK:
                ticked = now
                self._receive(messages.Tick(), role)
                self._watch(role.state.heard)
                self._require_life(now - moved, role.state)
        self._hear_the_last_spans(role, session)
        return session.desk.ended

    def _hear_the_last_spans(self, role: Role[coordinator.CoordinatorState], session: Session) -> None:
        """Processes tell their time with every tick: where they do, wait for one more."""
        until = time.monotonic() + 3 * TICK if session.desk.timeline.spans else 0.0
        while time.monotonic() < until:
            for mail in self._post.poll(TICK / 5):
                self._hear(mail, role, session)

    def interrupt(self) -> None:
        """Ask the session to save and end. Safe to call from a signal handler."""
        self._interrupt = True
        self._post.put(messages.Tick())

    def send(self, server: int, message: Any) -> None:
        """Say something to a server beside the protocol."""
        self._post.send(Address("server", server), message)

    def hear(self, message: Any) -> None:
        """Take a message of the cluster's own, as one of a worker that died before a server knew it."""
        self._post.put(message)

    def close(self) -> None:
        """Hang up: servers end when they hear it."""
        self._post.close()

    def _name(self, server: int) -> str:
        return f"server {server} on {self._hosts[server]}"

    def _hear(self, mail: Mail, role: Role[coordinator.CoordinatorState], session: Session) -> None:
        if mail.sender is not None:
            self._heard[mail.sender.number] = time.monotonic()
        match mail.message:
            case None:
                raise _lost(f"{self._name(mail.sender.number)} is gone" if mail.sender else "a server is gone")
            case Parcel() as parcel:
                for report in unpack(parcel):
                    self._receive(report, role)
            case Alive(waiting):
                session.desk.waiting = waiting
            case Sample(host, figures):
                session.desk.emit(HostSampled(time.time(), host, figures))
            case Spans() as told:
                session.desk.timeline.add(told)
            case message:
                self._receive(message, role)

    def _receive(self, message: Any, role: Role[coordinator.CoordinatorState]) -> None:
        for send in role.receive(message):
            self._post.send(send.to, send.message)

    def _require_life(self, silent: float, state: coordinator.CoordinatorState) -> None:
        """Nothing waits without an end, and what times out names who is missing and since when."""
        now = time.monotonic()
        for number, heard in self._heard.items():
            if now - heard > self._patience:
                raise _lost(f"{self._name(number)} has said nothing for {now - heard:.0f} seconds")
        if silent > STUCK:
            raise LostError(
                f"nothing has moved for {silent:.0f} seconds, since version {state.heard.version + 1}",
                f"workers there: {len(state.homes)}, missing: {len(state.awaited)}; servers open: {len(state.opened)}",
                "look at what the workers do (py-spy), or at the storage that they read from",
            )


def _lost(what: str) -> LostError:
    return LostError(
        what,
        "its process ended, or its host cannot be reached",
        "resume the run: it goes on from its last checkpoint with the same numbers",
    )
