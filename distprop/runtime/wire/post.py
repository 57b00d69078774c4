"""The post: everything that a process hears, from its channels and its own threads, in one queue."""

import logging
import select
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from distprop.protocol.messages import Address
from distprop.runtime.wire.channel import Channel
from distprop.runtime.wire.frames import VERSION_AT, FrameError, Piece, encode
from distprop.runtime.wire.slate import HEARD, LATE, Frames, Pair, Ready, Slate, Slates, hear, look

_log = logging.getLogger("distprop")

BRIEF = 1e-3
"""Seconds of waiting up to which the next wait is expected to be as brief: to sleep and to be woken costs more."""


class Mail(NamedTuple):
    """Something that was heard, from whom; `message` is None where the channel has closed."""

    sender: Address | None
    message: Any


class Post:
    """Owned by one thread; only `put` may be called from others and from signal handlers."""

    def __init__(self) -> None:
        self._channels: dict[Address, Channel] = {}
        self._lines: dict[int, tuple[Address, Channel]] = {}  # by descriptor
        self._slated: dict[Address, Pair] = {}
        self._slates: Slates = ()  # the same, in the same order
        self._writing: set[Address] = set()  # to whom something waits to be sent
        self._epoll = select.epoll()
        self.brief = False  # whether the last wait was
        self._waited = 0.0  # seconds of the wait that goes on
        self.refused = 0  # frames
        self._inner: deque[Mail] = deque()
        self._encoded_last: tuple[Any, Sequence[Piece]] | None = None
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._epoll.register(self._bell, select.EPOLLIN)

    def put(self, message: Any, sender: Address | None = None) -> None:
        """Let the owner hear something from another thread."""
        self._inner.append(Mail(sender, message))
        with suppress(BlockingIOError):  # it rings already
            self._ring.send(b"!")

    def connect(self, peer: Address, sock: socket.socket, slate: Slate | None = None) -> None:
        """Take a connection; an older one to the same peer is closed. slate: of a peer on this host."""
        self.hang_up(peer)
        channel = self._channels[peer] = Channel(sock, slate=slate)
        self._lines[channel.fileno()] = peer, channel
        self._epoll.register(channel, select.EPOLLIN)
        if slate is not None:
            self._slated[peer] = channel.fileno(), *slate.memories
            self._slates = tuple(self._slated.values())

    def hang_up(self, peer: Address) -> None:
        """Close the connection to a peer, if there is one."""
        channel = self._channels.pop(peer, None)
        if channel is not None:
            del self._lines[channel.fileno()]
            self._slated.pop(peer, None)
            self._slates = tuple(self._slated.values())
            self._writing.discard(peer)
            self._epoll.unregister(channel)
            channel.close()

    @property
    def peers(self) -> tuple[Address, ...]:
        """Who is connected."""
        return tuple(self._channels)

    def traffic(self, role: str) -> tuple[int, int]:
        """Bytes sent to and received from the connected peers of a role."""
        channels = [channel for peer, channel in self._channels.items() if peer.role == role]
        return sum(channel.sent for channel in channels), sum(channel.received for channel in channels)

    def send(self, to: Address, message: Any) -> None:
        """Send, or lose the message where the peer is not there: the protocol says it again."""
        channel = self._channels.get(to)
        if channel is None:
            return
        try:
            channel.send(self._encoded(message))
        except OSError:
            self._lose(to)
            return
        if channel.pending or self._writing:
            self._watch(to, channel)

    def _encoded(self, message: Any) -> Sequence[Piece]:
        """The frame of a message; one that goes to several peers is encoded once."""
        if self._encoded_last is None or self._encoded_last[0] is not message:
            self._encoded_last = message, encode(message)
        return self._encoded_last[1]

    def poll(self, timeout: float) -> list[Mail]:
        """What has been heard, after at most `timeout` seconds."""
        heard: list[Mail] = []
        for descriptor, events in look(self._epoll, self._slates, 0.0) if self._inner else self._wait(timeout):
            line = self._lines.get(descriptor)
            if line is None:
                self._hush()
            else:
                heard += self._serve(*line, events)
        while self._inner:
            heard.append(self._inner.popleft())
        return heard

    def expect(self, said: Mapping[Address, Any]) -> Frames | None:
        """What `hears` is asked for, until the next `poll`, where a peer will say that message, of some version.

        None where not all of these peers have slates.
        """
        if not said or not said.keys() <= self._slated.keys():
            return None
        return tuple(bytes(encode(said[peer])[0]) if peer in said else None for peer in self._slated)

    def hears(self, expected: Frames, version: int) -> bool:
        """Whether each peer says next what is expected, of this version, by slate and soon, and nobody anything else.

        Then it is heard. If not, nothing is: `poll` tells what is there.
        """
        if not self.brief or self._inner:
            return False
        found = hear(self._epoll, self._slates, expected, VERSION_AT, version, BRIEF)
        if found == LATE:
            self.brief, self._waited = False, BRIEF
        return found == HEARD

    def _wait(self, timeout: float) -> Ready:
        """What is ready, and how. A wait that promises to be brief is not slept through."""
        start = time.monotonic() - self._waited
        ready = look(self._epoll, self._slates, BRIEF if self.brief else 0.0) or self._epoll.poll(timeout)
        self.brief, self._waited = time.monotonic() - start < BRIEF, 0.0
        return ready

    def _serve(self, peer: Address, channel: Channel, events: int) -> list[Mail]:
        try:
            if not events:
                return [Mail(peer, channel.take())]
            if events & select.EPOLLOUT:
                channel.flush()
                self._watch(peer, channel)
            if events & ~select.EPOLLOUT:
                return [Mail(peer, message) for message in channel.receive()]
        except (OSError, EOFError):
            self._lose(peer)
        except FrameError as error:
            self.refused += 1
            _log.warning("the connection to %s %d is closed, %d refused so far: %s", *peer, self.refused, error)
            self._lose(peer)
        return []

    def _watch(self, peer: Address, channel: Channel) -> None:
        """Be told when the socket takes more, as long as something waits to be sent."""
        if channel.pending == (peer in self._writing):
            return
        self._writing ^= {peer}
        self._epoll.modify(channel, select.EPOLLIN | (select.EPOLLOUT if channel.pending else 0))

    def _lose(self, peer: Address) -> None:
        if peer in self._channels:
            self.hang_up(peer)
            self._inner.append(Mail(peer, None))

    def _hush(self) -> None:
        with suppress(BlockingIOError):
            self._bell.recv(4096)

    def close(self) -> None:
        """Close everything."""
        for peer in self.peers:
            self.hang_up(peer)
        self._epoll.close()
        self._bell.close()
        self._ring.close()
