"""A session: one attempt of a job, from an opening to its end, on some cluster."""

from dataclasses import dataclass
from typing import Protocol

from distprop.protocol.effects import Finish
from distprop.protocol.messages import Open
from distprop.runtime.desk import Desk


@dataclass(frozen=True)
class Session:
    """What is to be done, and the desk that keeps its books."""

    opening: Open
    desk: Desk


class Cluster(Protocol):
    """Runs sessions somewhere. Arrays stay inside; only small reports come out, through the desk."""

    @property
    def workers(self) -> int:
        """Workers that were started."""

    @property
    def servers(self) -> int:
        """Servers that were started."""

    def run(self, session: Session) -> Finish:
        """Conduct a session to its end. Raises what a role failed with."""

    def replace(self, worker: int, server: int) -> None:
        """Start a worker on the host of `server`, in the place of `worker`, which is gone. Raises LostError."""

    def kill_worker(self, index: int) -> None:
        """Rehearse the loss of the `index`-th worker."""

    def kill_server(self, index: int) -> None:
        """Rehearse the loss of the `index`-th server."""

    def restart(self) -> None:
        """All processes anew, after one was lost that the job cannot do without. Raises LostError."""

    def interrupt(self) -> None:
        """Ask the session to save and end. Safe to call from a signal handler."""

    def close(self) -> None:
        """End all processes and give back all memory."""
