"""Proof, before anything else is read, that both ends of a connection know the job's secret.

Challenge and response with HMAC-SHA256, both ways; a stranger's bytes reach nothing else.
"""

import hmac
import secrets
import socket
import struct

from distprop.errors import DistpropError
from distprop.protocol.messages import Address

TIMEOUT = 10.0  # seconds for a whole handshake
NONCE = 32
HELLO = struct.Struct("<BI")
ROLES = ("coordinator", "server", "worker")


class StrangerError(DistpropError):
    """A peer does not know the job's secret, or does not speak our language."""


def knock(sock: socket.socket, secret: bytes, me: Address) -> None:
    """As the end that connected: prove ourselves and say who we are. Raises StrangerError, OSError."""
    sock.settimeout(TIMEOUT)
    mine = secrets.token_bytes(NONCE)
    sock.sendall(mine)
    theirs, proof = take(sock, NONCE), take(sock, NONCE)
    _require(proof, _prove(secret, b"host", mine, theirs))
    hello = HELLO.pack(ROLES.index(me.role), me.number)
    sock.sendall(_prove(secret, b"guest", theirs, mine, hello) + hello)


class Admission:
    """The end that was connected to, without its socket: it is told what the other said, and says what to answer.

    needs: how many bytes it must be told next. peer: who it is, once that is proved.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret, self._theirs, self._mine = secret, b"", secrets.token_bytes(NONCE)
        self.needs = NONCE
        self.peer: Address | None = None

    def hear(self, said: bytes) -> bytes:
        """The answer to `needs` bytes. Raises StrangerError where they prove nothing."""
        if not self._theirs:
            self._theirs, self.needs = said, NONCE + HELLO.size
            return self._mine + _prove(self._secret, b"host", said, self._mine)
        proof, hello = said[:NONCE], said[NONCE:]
        _require(proof, _prove(self._secret, b"guest", self._mine, self._theirs, hello))
        role, number = HELLO.unpack(hello)
        if role >= len(ROLES):
            raise StrangerError("a peer does not speak our language", f"it says that it is a number {role}")
        self.peer = Address(ROLES[role], number)  # type: ignore[arg-type]  # one of the literals
        return b""


def take(sock: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes. Raises StrangerError where the peer stops before."""
    found = b""
    while len(found) < count:
        more = sock.recv(count - len(found))
        if not more:
            raise StrangerError("a peer went away within the handshake")
        found += more
    return found


def _prove(secret: bytes, *parts: bytes) -> bytes:
    return hmac.digest(secret, b"".join(parts), "sha256")


def _require(found: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(found, expected):
        raise StrangerError("a peer does not know the job's secret", "it belongs to another job, or to nobody")
