"""Connecting to another host."""

import socket

from distprop.protocol.messages import Address
from distprop.runtime.wire.handshake import knock
from distprop.runtime.wire.seal import Credentials, seal_guest

TIMEOUT = 10.0  # seconds


def reach(door: tuple[str, int], secret: bytes, me: Address, credentials: Credentials | None) -> socket.socket:
    """A connection on which both ends have proved that they are of the job. Raises StrangerError, OSError."""
    sock = socket.create_connection(door, timeout=TIMEOUT)
    try:
        sock = seal_guest(sock, credentials) if credentials else sock
        knock(sock, secret, me)
    except BaseException:
        sock.close()
        raise
    return sock
