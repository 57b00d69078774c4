"""TLS on connections between hosts: both ends show a certificate of the job and take no other.

Certificates are checked by whom they come from, not by names: hosts of a cluster have addresses that nobody certifies.
"""

import os
import socket
import ssl
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, TextIO

from distprop.errors import UserError

TIMEOUT = 10.0  # seconds for a handshake
RECORD = 1 << 18  # bytes given to TLS at once; it makes records of 16 kB of them


class Credentials(NamedTuple):
    """A certificate, its key, and the certificates that are trusted: PEM, or the paths of such files on each host."""

    certificate: str
    key: str
    authority: str

    def __repr__(self) -> str:
        return "Credentials(...)"  # a key has no place in a log


class Sealed(ssl.SSLSocket):
    """A TLS socket that, where it may not wait, behaves as a plain one does: a channel cannot tell them apart."""

    def send(self, piece: Any, flags: int = 0) -> int:
        """Send what the socket takes now; at least a byte. Raises BlockingIOError, OSError.

        What could not be sent is to be given again, byte for byte: TLS may have begun with it.
        """
        try:
            return super().send(piece[:RECORD], flags)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None

    def sendmsg(self, pieces: Sequence[memoryview]) -> int:  # type: ignore[override]  # the standard library has none
        """As `send`, of several pieces."""
        sent = 0
        for piece in pieces:
            for start in range(0, len(piece), RECORD):
                try:
                    sent += self.send(piece[start : start + RECORD])
                except BlockingIOError:
                    if sent:
                        return sent
                    raise
        return sent

    def recv_into(self, space: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Fill `space` with what is there, less only where nothing is left. Raises BlockingIOError, OSError."""
        count = 0
        while count < len(space):
            try:
                more = super().recv_into(space[count:], nbytes, flags)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if count:
                    break
                raise BlockingIOError from None
            if not more:
                break  # the end, which is there to be seen again
            count += more
        return count


def seal_host(sock: socket.socket, credentials: Credentials) -> ssl.SSLSocket:
    """As the end that was connected to, of a socket that does not wait; `do_handshake` is still to be done.

    That raises ssl.SSLError, an OSError, where the guest has no certificate of the job.
    """
    context = context_of(credentials, host=True)
    return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


def seal_guest(sock: socket.socket, credentials: Credentials) -> ssl.SSLSocket:
    """As the end that connected. Raises OSError: ssl.SSLError where the host has no certificate of the job."""
    sock.settimeout(TIMEOUT)
    return context_of(credentials, host=False).wrap_socket(sock)


@cache
def context_of(credentials: Credentials, host: bool) -> ssl.SSLContext:
    """What both ends insist on. Raises UserError where the credentials are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if host else ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = Sealed
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        _load(context, credentials)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(
            "the certificate or the key of `wire.tls` cannot be used",
            str(error),
            "give PEM files that each host can read: a certificate, its own key, and who signed it",
        ) from error
    return context


def _load(context: ssl.SSLContext, credentials: Credentials) -> None:
    certificate, key, authority = credentials
    if key.startswith("-----BEGIN"):
        context.load_verify_locations(cadata=authority)
        with _in_memory(certificate + key) as file:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    else:
        context.load_verify_locations(authority)
        context.load_cert_chain(certificate, key)


def _in_memory(text: str) -> TextIO:
    """A file without a name, since a key is only taken from a file."""
    file = os.fdopen(os.memfd_create("distprop-key"), "w")
    file.write(text)
    file.flush()
    return file
