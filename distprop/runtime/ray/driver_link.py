"""The two processes of Ray that a driver depends on: the raylet of its machine, and the cluster's head (GCS).

Ray ends a driver without a word once it notices that one of them is gone, some 10 to 60 seconds later. A job notices
first: it starts its own Ray again, or says what happened.
"""

import socket
import time
from typing import NamedTuple

PROBE = 2.0  # seconds that a process is given to take a connection
HEAD_AWAY = 20.0
"""Seconds that a head which is not ours may be away: one with a store of its own comes back (GCS fault tolerance)."""


class Place(NamedTuple):
    """Where a process listens."""

    host: str
    port: int

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection(self, timeout=PROBE).close()
        except OSError:
            return False
        return True


class DriverLink:
    """Watches them. patience: seconds that the head may be away."""

    def __init__(self, raylet: Place, head: Place, patience: float) -> None:
        self._raylet, self._head, self._patience = raylet, head, patience
        self._away_since: float | None = None

    def missing(self) -> str | None:
        """Which of them is gone, if one is, in words."""
        if not self._raylet.answers():
            return f"Ray's process on this machine (its raylet, port {self._raylet.port}) is gone"
        if self._head.answers():
            self._away_since = None
            return None
        now = time.monotonic()
        self._away_since = self._away_since or now
        if now - self._away_since < self._patience:
            return None
        return f"Ray's head process (GCS, {self._head.host}:{self._head.port}) is gone"


def driver_link(patience: float) -> DriverLink:
    """Those of this process, which is connected to Ray."""
    import ray

    context = ray.get_runtime_context()
    here, (host, _, port) = context.get_node_id(), context.gcs_address.rpartition(":")
    home = next(node for node in ray.nodes() if node["NodeID"] == here)  # type: ignore[no-untyped-call]
    raylet = Place(home["NodeManagerAddress"], home["NodeManagerPort"])
    return DriverLink(raylet, Place(host.strip("[]"), int(port)), patience)
