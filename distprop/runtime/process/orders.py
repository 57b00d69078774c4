"""What the coordinator's process asks of a server beside the protocol."""

from typing import NamedTuple


class Kill(NamedTuple):
    """Asks a server to end a worker with signal 9, as a rehearsal or because it is stuck."""

    worker: int
