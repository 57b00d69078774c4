"""A server's process: the host's shared memory, its workers' connections, and its part of the parameter server."""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from distprop.errors import DistpropError, LostError
from distprop.protocol import messages, rhythm, server
from distprop.protocol.course import TRAIN
from distprop.protocol.effects import Send
from distprop.protocol.messages import COORDINATOR, Address
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.hostfigures import HostSampler
from distprop.runtime.keeper import Keeper
from distprop.runtime.memory import Tail, WeightLayout
from distprop.runtime.process.failure import failure
from distprop.runtime.process.gauges import Alive, Gauge, Sample
from distprop.runtime.process.orders import Kill
from distprop.runtime.process.parcel import pack
from distprop.runtime.process.silence import Silence
from distprop.runtime.process.worker import PID, pulse
from distprop.runtime.replica import slot_layout
from distprop.runtime.role import Role
from distprop.runtime.threads import cores_to_spare
from distprop.runtime.timeline import Recorder, Spans
from distprop.runtime.wire.handshake import take
from distprop.runtime.wire.lobby import Lobby, listen_here, listen_on
from distprop.runtime.wire.post import Mail, Post
from distprop.runtime.wire.reaching import reach
from distprop.runtime.wire.seal import Credentials
from distprop.runtime.wire.segment import Segment
from distprop.runtime.wire.slate import Slate, blank, paired

_log = logging.getLogger("distprop")

TICK = 0.5  # seconds between two words of a silent server
SAMPLE = 2.0  # seconds between two samples of the host
SILENCE = 2.0  # seconds without progress or traffic after which a server says again what may have been lost
REPORT = 0.5  # seconds in which reports of steps are gathered: people look at them, no step waits for them


class Door(NamedTuple):
    """Where a server is reached: by other hosts, and by the workers of its own."""

    address: tuple[str, int]
    path: str


class ServerProcess:
    """One server. Connections are taken from the start; `serve` blocks until the coordinator hangs up."""

    def __init__(
        self,
        me: int,
        blueprint: Blueprint,
        folder: str,
        secret: bytes,
        address: str,
        patience: float,
        profile: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        self._secret, self._me, self._patience = secret, me, patience
        self._credentials = credentials
        self._layout = slot_layout(blueprint)
        self._post = Post()
        self._segment = Segment.create(f"distprop-weights-{me}", WeightLayout(blueprint.parameters).size)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._keeper = Keeper(me, blueprint, self._segment.memory, folder, self._in_background, cores_to_spare())
        self._recorder = Recorder(profile)
        state: rhythm.State = server.ServerState(me)
        self._role = Role(state, rhythm.step, self._keeper, self._recorder)
        self._pids: dict[int, int] = {}
        self._pulses: dict[int, Pulse] = {}
        self._gauges: dict[int, Gauge] = {}
        self._reports: list[messages.Gathered] = []
        self._times: list[float] = []  # when each was made
        self._host = HostSampler()
        self._silence = Silence(SILENCE)
        self._ticked = self._sampled = self._reported = 0.0
        tcp, path = listen_on(address), f"\0distprop-{secrets.token_hex(16)}"
        self.door = Door((address, tcp.getsockname()[1]), path)
        self._lobbies = (
            Lobby(tcp, secret, self._welcome_peer, credentials),
            Lobby(listen_here(path), secret, self._welcome_worker),
        )

    def start(self) -> None:
        """Serve in a thread; the process ends with it."""
        threading.Thread(target=self._serve_and_exit, name="server", daemon=True).start()

    def reach(self, doors: Mapping[int, Door]) -> None:
        """Connect to the servers with smaller numbers; those with larger ones connect to us."""
        for number, door in doors.items():
            if number < self._me:
                sock = reach(door.address, self._secret, Address("server", self._me), self._credentials)
                self._welcome_peer(Address("server", number), sock)

    def serve(self) -> None:
        """Serve until the coordinator hangs up, or another server does. Raises LostError then."""
        try:
            while True:
                self._turn()
        finally:
            self._close()

    def _turn(self) -> None:
        self._play()
        for mail in self._post.poll(REPORT if self._reports else TICK):
            self._hear(mail)
        if self._reports and time.monotonic() - self._reported > REPORT:
            self._send_reports()
        if time.monotonic() - self._ticked > TICK:
            self._tick()

    def _play(self) -> None:
        """Whole rounds of a rhythm, as long as its workers say by slate what it expects, and say it soon."""
        try:
            if self._post.brief:
                self._play_rounds(min(self._ticked + TICK, self._reported + REPORT))
        except Exception as error:  # the job must hear of whatever this was
            self._fail(error)

    def _play_rounds(self, until: float) -> None:
        state = self._role.state
        if type(state) is not rhythm.Rhythm:
            return
        expected = self._post.expect({Address("worker", one.worker): one for one in rhythm.contributions(state)})
        while expected and rhythm.goes_on(state) and time.monotonic() < until:
            if not self._post.hears(expected, state.round.version):
                return
            state = self._role.state = self._play_round(state)

    def _play_round(self, state: rhythm.Rhythm) -> rhythm.Rhythm:
        """One of them, of which all workers have been heard."""
        made = self._role.perform(rhythm.due(state))
        if type(made) is messages.Reduced:
            made = self._role.perform(rhythm.due(state, made))
        after, report, begin = rhythm.passed(state, made)
        for worker in state.score.workers:
            self._post.send(worker, begin)
        self._keep(report)
        return after

    # ---- who comes and goes -----------------------------------------------------------------------------------------

    def _welcome_peer(self, peer: Address, sock: socket.socket) -> None:
        self._post.put(_Arrival(sock), peer)

    def _welcome_worker(self, peer: Address, sock: socket.socket) -> None:
        """It has proved itself, and may take its time: others are let in meanwhile."""
        threading.Thread(target=self._exchange, args=(peer, sock), name="welcome", daemon=True).start()

    def _exchange(self, peer: Address, sock: socket.socket) -> None:
        """Swap descriptors with a worker of this host."""
        try:
            self._swap(peer, sock)
        except (OSError, ValueError, DistpropError) as error:
            _log.warning("worker %d went away before it was here: %s", peer.number, error)
            sock.close()

    def _swap(self, peer: Address, sock: socket.socket) -> None:
        data, (slots, theirs), _, _ = socket.recv_fds(sock, PID.size, 2)
        (pid,) = PID.unpack(data + take(sock, PID.size - len(data)))
        mine = blank(f"server-{self._me}-{peer.number}")
        socket.send_fds(sock, [b"w"], [self._segment.fd, mine.fd])
        self._post.put(_Arrival(sock, pid, Segment.open(slots, writable=False), paired(mine, theirs)), peer)

    def _arrived(self, peer: Address, arrival: "_Arrival") -> None:
        self._post.connect(peer, arrival.sock, arrival.slate)
        if arrival.slots is not None:
            self._pids[peer.number] = arrival.pid
            self._pulses[peer.number] = Pulse(pulse(arrival.slots, self._layout))
            self._keeper.attach(peer.number, arrival.slots.memory)
            self._receive(messages.Joined(peer.number, self._me))

    def _left(self, peer: Address | None) -> None:
        if peer is None or peer.role != "worker":
            raise LostError(f"server {self._me} lost its connection to {peer}")
        self._pids.pop(peer.number, None)
        self._gauges.pop(peer.number, None)
        self._pulses.pop(peer.number, None)
        self._receive(messages.Gone(peer.number, self._me, "its process ended"))

    # ---- what is heard ----------------------------------------------------------------------------------------------

    def _hear(self, mail: Mail) -> None:
        match mail.message:
            case None:
                self._left(mail.sender)
            case _Arrival() as arrival if mail.sender is not None:
                self._arrived(mail.sender, arrival)
            case Gauge() as gauge:
                self._gauges[gauge.worker] = gauge
            case Spans():
                self._post.send(COORDINATOR, mail.message)
            case Kill(worker):
                self._kill(worker)
            case message:
                self._receive(message)

    def _receive(self, message: Any) -> None:
        try:
            for send in self._role.receive(message):
                self._send(send)
        except Exception as error:  # the job must hear of whatever this was
            self._fail(error)

    def _send(self, send: Send) -> None:
        """Reports of steps go in small parcels, in their order with all else that the coordinator is told."""
        if send.to != COORDINATOR:
            self._post.send(send.to, send.message)
            return
        report = send.message
        if type(report) is messages.Gathered and report.round.kind == TRAIN:
            self._keep(report)
            return
        self._send_reports()
        self._post.send(COORDINATOR, report)

    def _keep(self, report: messages.Gathered) -> None:
        self._reports.append(report)
        self._times.append(time.time())

    def _send_reports(self) -> None:
        self._reported = time.monotonic()
        if self._reports:
            for parcel in pack(self._reports, self._times):
                self._post.send(COORDINATOR, parcel)
            self._reports.clear()
            self._times.clear()

    def _fail(self, error: Exception) -> None:
        self._post.send(COORDINATOR, failure(Address("server", self._me), error))

    def _kill(self, worker: int) -> None:
        if worker in self._pids:
            with suppress(ProcessLookupError):
                os.kill(self._pids[worker], signal.SIGKILL)

    def _in_background(self, job: Callable[[], Any]) -> None:
        self._writer.submit(lambda: self._post.put(job()))

    def _tick(self) -> None:
        self._ticked = time.monotonic()
        known = self._role.state.round, self._role.state.plan.number, self._post.traffic("server")
        if self._silence.is_long(self._ticked, known):
            self._receive(messages.Tick())
        if self._recorder.on:
            self._post.send(COORDINATOR, self._recorder.take(Address("server", self._me)))
        for worker, felt in self._pulses.items():
            if felt.stopped_for(self._ticked) > self._patience:
                self._kill(worker)
        self._post.send(COORDINATOR, Alive(self._waiting()))
        if self._ticked - self._sampled > SAMPLE:
            self._sampled = self._ticked
            self._post.send(COORDINATOR, Sample(socket.gethostname(), self._host.sample()))

    def _waiting(self) -> float:
        shares = [gauge.waited / gauge.seconds for gauge in self._gauges.values() if gauge.seconds]
        return sum(shares) / len(shares) if shares else 0.0

    def _serve_and_exit(self) -> None:
        with suppress(LostError):
            self.serve()
        os._exit(0)

    def _close(self) -> None:
        """Let nobody in any more, finish what is being written, hang up."""
        for lobby in self._lobbies:
            lobby.close()
        self._writer.shutdown(wait=True)
        self._post.close()


class Pulse:
    """Watches a worker's pulse."""

    def __init__(self, beats: Tail) -> None:
        self._beats, self._last, self._since = beats, -1.0, 0.0

    def stopped_for(self, now: float) -> float:
        """Seconds since the last beat."""
        if self._beats[0] != self._last:
            self._last, self._since = float(self._beats[0]), now
        return now - self._since


class _Arrival(NamedTuple):
    """A peer that was let in; a worker comes with its process and its memory."""

    sock: socket.socket
    pid: int = 0
    slots: Segment | None = None
    slate: Slate | None = None
