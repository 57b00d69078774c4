"""Proof, before anything else is read, that both ends of a connection know the job's secret.

Challenge and response with HMAC-SHA256, both ways; a stranger's bytes never reach the unpickler.
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


def admit(sock: socket.socket, secret: bytes) -> Address:
    """As the end that was connected to: who it is. Raises StrangerError, OSError."""
    sock.settimeout(TIMEOUT)
    theirs, mine = take(sock, NONCE), secrets.token_bytes(NONCE)
    sock.sendall(mine + _prove(secret, b"host", theirs, mine))
    proof, hello = take(sock, NONCE), take(sock, HELLO.size)
    _require(proof, _prove(secret, b"guest", mine, theirs, hello))
    role, number = HELLO.unpack(hello)
    return Address(ROLES[role], number)  # type: ignore[arg-type]  # one of the literals


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
