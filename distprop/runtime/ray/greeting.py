"""Asks, before Ray does, whether it is Ray that listens at an address: Ray itself tries for minutes.

Ray's head and its client server speak gRPC, which is HTTP/2 (RFC 9113): to a client's preface, a server of either
answers with a SETTINGS frame, first of all and at once.
"""

import os
import socket

from distprop.errors import AddressError

WAIT_SECONDS = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9  # of a frame: length 3, type 1, flags 1, stream 4
SETTINGS = 4
EMPTY_SETTINGS = bytes((0, 0, 0, SETTINGS, 0, 0, 0, 0, 0))


def require_ray(address: str, wait_seconds: float = WAIT_SECONDS) -> None:
    """Raise AddressError unless a server that may be Ray's answers at `host:port` or `ray://host:port` in time.

    Other addresses ("auto") are left for Ray to look up. Where Ray's hosts use TLS, only the connection is tried.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        with socket.create_connection((host, int(port)), timeout=wait_seconds) as connection:
            known = _encrypted() or _greets(connection)
    except OSError as error:
        raise unreachable(address, str(error)) from error
    if not known:
        raise unreachable(address, "what listens there is no Ray: it answered with something else")


def unreachable(address: str, why: str) -> AddressError:
    """What is said where no cluster can be had."""
    return AddressError(
        f"no Ray cluster answers at {address}",
        " ".join(why.split())[:300],
        "start one (`ray start --head`), correct --address, or leave it out to train on this machine",
    )


def _encrypted() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _greets(connection: socket.socket) -> bool:
    """Whether the first frame that comes back has settings. No frame comes where the other side hangs up."""
    connection.sendall(PREFACE + EMPTY_SETTINGS)
    header = b""
    while len(header) < HEADER_BYTES and (more := connection.recv(HEADER_BYTES - len(header))):
        header += more
    return header[3:4] == bytes((SETTINGS,))
