"""A worker's process: connects to its host's server, shares memory with it, and computes until it is gone."""

import os
import socket
import struct
import threading
import time
from contextlib import suppress

import numpy as np

from distprop.errors import DistpropError, LostError
from distprop.protocol import messages, worker
from distprop.protocol.messages import Address
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.memory import SlotLayout, Tail
from distprop.runtime.process.failure import failure
from distprop.runtime.process.gauges import Gauge
from distprop.runtime.replica import Replica, slot_layout
from distprop.runtime.role import Role
from distprop.runtime.timeline import Recorder
from distprop.runtime.wire.handshake import knock
from distprop.runtime.wire.post import Mail, Post
from distprop.runtime.wire.segment import Segment
from distprop.runtime.wire.slate import Slate, blank, paired

TICK = 0.5  # seconds between two words of a silent worker
PID = struct.Struct("<I")
BEAT = 64  # bytes behind a worker's slots, for its pulse


class WorkerProcess:
    """One worker. `serve` blocks until the server hangs up."""

    def __init__(
        self, me: int, home: int, blueprint: Blueprint, secret: bytes, server_path: str, profile: bool = False
    ) -> None:
        self._home = Address("server", home)
        layout = slot_layout(blueprint)
        segment = Segment.create(f"distprop-worker-{me}", layout.size + BEAT)
        self._pulse = pulse(segment, layout)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(server_path)
        knock(sock, secret, Address("worker", me))
        weights, slate = _exchange(sock, segment.fd, me)
        self._recorder = Recorder(profile)
        clock = self._recorder.layers if profile else None
        self._replica = Replica(me, blueprint, weights.memory, segment.memory, clock)
        self._role = Role(worker.WorkerState(me, home), worker.step, self._replica, self._recorder)
        self._replica.tell = self._tell
        self._post = Post()
        self._post.connect(self._home, sock, slate)
        self._waited, self._since = 0.0, time.monotonic()

    def start(self) -> None:
        """Serve in a thread; the process ends with it."""
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        threading.Thread(target=self._serve_and_exit, name="worker", daemon=True).start()

    def serve(self) -> None:
        """Compute until the server hangs up. Raises LostError then."""
        while True:
            self._play()
            self._read_ahead()
            before = time.time()
            for mail in self._post.poll(TICK):
                self._wait_ends(before)
                self._hear(mail)
                before = time.time()
            self._wait_ends(before)
            if time.monotonic() - self._since > TICK:
                self._tick()

    def _play(self) -> None:
        """Whole rounds by habit, as long as the server says soon, by slate, that the next one has begun."""
        try:
            if self._post.brief and (habit := worker.habit(self._role.state)):
                self._play_rounds(habit)
        except Exception as error:  # whatever a reader, a layer or a user's data raised: the job must hear of it
            self._fail(error)

    def _play_rounds(self, habit: worker.Habit) -> None:
        expected = self._post.expect({self._home: messages.Begin(self._role.state.attempt, habit.round)})
        version = habit.round.version + 1
        while expected and version < habit.until and time.monotonic() < self._since + TICK:
            self._replica.read_ahead()
            before = time.time()
            heard = self._post.hears(expected, version)
            self._wait_ends(before)
            if not heard:
                return
            done = [self._role.perform(one) for one in worker.due(habit, version)]
            self._role.state, said = worker.passed(self._role.state, done)
            self._post.send(self._home, said)
            version += 1

    def _wait_ends(self, since: float) -> None:
        self._waited += time.time() - since
        if self._recorder.on:
            self._recorder.note("wait", since)

    def _read_ahead(self) -> None:
        try:
            self._replica.read_ahead()
        except DistpropError as error:  # the leaf that needs these rows would meet the same error
            self._fail(error)

    def _hear(self, mail: Mail) -> None:
        if mail.message is None:
            raise LostError("the server of this host is gone")
        try:
            for send in self._role.receive(mail.message):
                self._post.send(send.to, send.message)
        except Exception as error:  # whatever a reader, a layer or a user's data raised: the job must hear of it
            self._fail(error)

    def _tell(self, early: messages.Early) -> None:
        """Say of a gradient what is there of it, in the middle of computing it."""
        for send in self._role.receive(early):
            self._post.send(send.to, send.message)

    def _fail(self, error: Exception) -> None:
        self._post.send(self._home, failure(Address("worker", self._role.state.me), error))

    def _tick(self) -> None:
        now = time.monotonic()
        self._post.send(self._home, Gauge(self._role.state.me, now - self._since, self._waited))
        self._since, self._waited = now, 0.0
        if self._recorder.on:
            self._post.send(self._home, self._recorder.take(Address("worker", self._role.state.me)))
        self._hear(Mail(None, messages.Tick()))

    def _beat(self) -> None:
        """Show the server that this process runs, also in the middle of a long leaf."""
        while True:
            self._pulse[0] += 1.0
            time.sleep(TICK)

    def _serve_and_exit(self) -> None:
        with suppress(LostError):
            self.serve()
        os._exit(0)


def pulse(slots: Segment, layout: SlotLayout) -> Tail:
    """A number that a living worker raises with every beat, (1,)."""
    return np.frombuffer(slots.memory, np.float64, 1, layout.size)


def _exchange(sock: socket.socket, slots: int, me: int) -> tuple[Segment, Slate | None]:
    """Lend our slots and a slate to the server, and take its weights to read, and its slate."""
    mine = blank(f"worker-{me}")
    socket.send_fds(sock, [PID.pack(os.getpid())], [slots, mine.fd])
    _, (weights, theirs), _, _ = socket.recv_fds(sock, 1, 2)
    return Segment.open(weights, writable=False), paired(mine, theirs)
