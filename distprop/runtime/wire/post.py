"""The post: everything that a process hears, from its channels and its own threads, in one queue."""

import selectors
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from distprop.protocol.messages import Address
from distprop.runtime.wire.channel import Channel
from distprop.runtime.wire.frames import FrameError, Piece, encode


class Mail(NamedTuple):
    """Something that was heard, from whom; `message` is None where the channel has closed."""

    sender: Address | None
    message: Any


class Post:
    """Owned by one thread; only `put` may be called from others and from signal handlers."""

    def __init__(self) -> None:
        self._channels: dict[Address, Channel] = {}
        self._selector = selectors.DefaultSelector()
        self._inner: deque[Mail] = deque()
        self._encoded_last: tuple[Any, Sequence[Piece]] | None = None
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)

    def put(self, message: Any, sender: Address | None = None) -> None:
        """Let the owner hear something from another thread."""
        self._inner.append(Mail(sender, message))
        with suppress(BlockingIOError):  # it rings already
            self._ring.send(b"!")

    def connect(self, peer: Address, sock: socket.socket) -> None:
        """Take a connection; an older one to the same peer is closed."""
        self.hang_up(peer)
        channel = self._channels[peer] = Channel(sock)
        self._selector.register(channel, selectors.EVENT_READ, peer)

    def hang_up(self, peer: Address) -> None:
        """Close the connection to a peer, if there is one."""
        channel = self._channels.pop(peer, None)
        if channel is not None:
            self._selector.unregister(channel)
            channel.close()

    @property
    def peers(self) -> tuple[Address, ...]:
        """Who is connected."""
        return tuple(self._channels)

    def traffic(self, role: str) -> tuple[int, int]:
        """Bytes sent to and received from the connected peers of a role."""
        channels = [channel for peer, channel in self._channels.items() if peer.role == role]
        return sum(channel.sent for channel in channels), sum(channel.received for channel in channels)

    def send(self, to: Address, *messages: Any) -> None:
        """Send, or lose the messages where the peer is not there: the protocol says them again."""
        channel = self._channels.get(to)
        if channel is None:
            return
        try:
            channel.send([part for message in messages for part in self._encoded(message)])
        except OSError:
            self._lose(to)
            return
        self._watch(to, channel)

    def _encoded(self, message: Any) -> Sequence[Piece]:
        """The frame of a message; one that goes to several peers is encoded once."""
        if self._encoded_last is None or self._encoded_last[0] is not message:
            self._encoded_last = message, encode(message)
        return self._encoded_last[1]

    def poll(self, timeout: float) -> Iterator[Mail]:
        """What has been heard, after at most `timeout` seconds."""
        for key, events in self._selector.select(0 if self._inner else timeout):
            if key.data is None:
                self._hush()
            else:
                yield from self._serve(key.data, events)
        while self._inner:
            yield self._inner.popleft()

    def _serve(self, peer: Address, events: int) -> Iterator[Mail]:
        channel = self._channels.get(peer)
        if channel is None:
            return
        try:
            if events & selectors.EVENT_WRITE:
                channel.flush()
                self._watch(peer, channel)
            if events & selectors.EVENT_READ:
                for message in channel.receive():
                    yield Mail(peer, message)
        except (OSError, EOFError, FrameError):
            self._lose(peer)

    def _watch(self, peer: Address, channel: Channel) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.pending else 0)
        if self._selector.get_key(channel).events != events:
            self._selector.modify(channel, events, peer)

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
        self._selector.close()
        self._bell.close()
        self._ring.close()
