"""Planned faults: what the job's `faults:` ask for, at the step that they name."""

from collections.abc import Sequence

from distprop.config import Fault
from distprop.errors import ConfigError
from distprop.events import Event, Listener, StepEnded
from distprop.runtime.session import Cluster


def require_possible(faults: Sequence[Fault], inline: bool) -> None:
    """Raise ConfigError for a fault that cannot be rehearsed where the job runs."""
    if inline and any(fault.kill == "server" for fault in faults):
        raise ConfigError(
            "`faults` kills a server, and the job runs inline",
            "inline, servers and workers are one process: its end would be the end of the job",
            "train without --inline, or leave the fault out",
        )


def rehearsal(faults: Sequence[Fault], cluster: Cluster) -> Listener:
    """A listener that kills what the faults name, each once, when their step has ended."""
    left = sorted(faults, key=lambda fault: fault.step)

    def listen(event: Event) -> None:
        while isinstance(event, StepEnded) and left and event.version > left[0].step:
            fault = left.pop(0)
            if fault.kill == "worker":
                cluster.kill_worker(fault.index)
            else:
                cluster.kill_server(fault.index)

    return listen
