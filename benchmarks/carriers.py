"""What could carry arrays between hosts: frames of our own on a socket, Arrow Flight, ZeroMQ. One echoes, one calls.

All of them carry a message and its array beside it: ours by its schema, that of the others pickled. Each carrier is a
function that echoes, (address, tell its port) -> never; and one that calls, (address, port) -> a function that sends an
array and gives back the one that returns.
"""

import pickle
import socket
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.protocol.messages import Address, Publish
from distprop.runtime.wire.handshake import Admission, knock, take
from distprop.runtime.wire.lobby import listen_on
from distprop.runtime.wire.post import Post

Array = NDArray[np.float32]


class Push(NamedTuple):
    """What is sent."""

    version: int
    array: Array


RoundTrip = Callable[[Array], Array]
Tell = Callable[[int], None]
SECRET = bytes(32)
NO_SUMS = np.empty(0)
PATIENCE = 60.0  # seconds


class Carrier(NamedTuple):
    """Both ends of a way to send arrays."""

    echo: Callable[[str, Tell], None]
    call: Callable[[str, int], RoundTrip]


def echo_framed(address: str, tell: Tell) -> None:
    """Frames of our own, as servers use them."""
    with listen_on(address) as listener:
        tell(listener.getsockname()[1])
        sock, _ = listener.accept()
    admission, post = Admission(SECRET), Post()
    while admission.peer is None:
        sock.sendall(admission.hear(take(sock, admission.needs)))
    peer = admission.peer
    post.connect(peer, sock)
    while post.peers:
        for mail in post.poll(PATIENCE):
            if mail.message is not None:
                post.send(peer, mail.message)


def call_framed(address: str, port: int) -> RoundTrip:
    """Frames of our own, as servers use them."""
    sock, peer, post = socket.create_connection((address, port)), Address("server", 0), Post()
    knock(sock, SECRET, Address("server", 1))
    post.connect(peer, sock)

    def round_trip(array: Array) -> Array:
        post.send(peer, Publish(0, 0, 0, array, NO_SUMS))
        while True:
            for mail in post.poll(PATIENCE):
                returned: Array = mail.message.weights
                return returned

    return round_trip


def packed(message: Push) -> tuple[bytes, list[memoryview]]:
    """The message, and its array beside it."""
    beside: list[pickle.PickleBuffer] = []
    return pickle.dumps(message, protocol=5, buffer_callback=beside.append), [one.raw() for one in beside]


def unpacked(message: Any, beside: Sequence[Any]) -> Array:
    """The array of a message."""
    found: Push = pickle.loads(memoryview(message), buffers=beside)
    return found.array


def echo_flight(address: str, tell: Tell) -> None:
    """Arrow Flight, one exchange for all pushes."""
    from pyarrow import flight

    class Echo(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow has no types
        def do_exchange(self, _context: Any, _descriptor: Any, reader: Any, writer: Any) -> None:
            first = reader.read_chunk()
            writer.begin(first.data.schema)
            for batch, message in chain((first,), reader):
                writer.write_with_metadata(batch, message)

    server = Echo(f"grpc://{address}:0")
    tell(server.port)
    server.serve()


def call_flight(address: str, port: int) -> RoundTrip:
    """Arrow Flight, one exchange for all pushes; batches are views of the arrays."""
    import pyarrow as pa
    from pyarrow import flight

    client = flight.FlightClient(f"grpc://{address}:{port}")
    writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(b"push"))
    writer.begin(pa.schema([("push", pa.float32())]))

    def round_trip(array: Array, _kept: Any = client) -> Array:
        message, (behind,) = packed(Push(0, array))
        column = pa.Array.from_buffers(pa.float32(), len(array), [None, pa.py_buffer(behind)])
        writer.write_with_metadata(pa.record_batch([column], ["push"]), message)
        batch, message = reader.read_chunk()
        return unpacked(message, [batch.column(0).buffers()[1]])

    return round_trip


def echo_zeromq(address: str, tell: Tell) -> None:
    """ZeroMQ without copies."""
    import zmq

    echoing = zmq.Context().socket(zmq.PAIR)
    tell(echoing.bind_to_random_port(f"tcp://{address}"))
    while True:
        echoing.send_multipart(echoing.recv_multipart(copy=False), copy=False)


def call_zeromq(address: str, port: int) -> RoundTrip:
    """ZeroMQ without copies."""
    import zmq

    calling = zmq.Context().socket(zmq.PAIR)
    calling.connect(f"tcp://{address}:{port}")

    def round_trip(array: Array) -> Array:
        message, behind = packed(Push(0, array))
        calling.send_multipart([message, *behind], copy=False)
        got, *frames = calling.recv_multipart(copy=False)
        return unpacked(got, [frame.buffer for frame in frames])

    return round_trip


CARRIERS = {
    "framed": Carrier(echo_framed, call_framed),
    "flight": Carrier(echo_flight, call_flight),
    "zeromq": Carrier(echo_zeromq, call_zeromq),
}
