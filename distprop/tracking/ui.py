"""How to look at the runs: MLflow's own pages."""

import os
import socket
import sys
from collections.abc import Mapping

from distprop.errors import AddressError
from distprop.tracking.process_guard import GuardedProcess

HOST, PORT = "127.0.0.1", 5000
SETTINGS: Mapping[str, str] = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""What the server is told, unless the user tells it otherwise: its eight processes for jobs of its own have no job."""
TRAINING_PAGES = "/#/experiments?workflowType=machine_learning"
"""MLflow's pages begin in the mode for language models, whatever the experiment's kind; a browser remembers another."""


def is_server(uri: str) -> bool:
    """Whether the runs at `uri` are shown by a server that is there already."""
    return uri.startswith(("http://", "https://"))


def pages(server: str) -> str:
    """The address of the pages for model training on a server."""
    return server.rstrip("/") + TRAINING_PAGES


def serve(uri: str, port: int) -> int:
    """Serve the runs at `uri` until it is interrupted or fails; returns its exit code. No process of it is left.

    Raises AddressError where the port is taken.
    """
    require_free(port)
    with GuardedProcess(command(uri, port), {**SETTINGS, **os.environ}) as server:
        return server.wait()


def command(uri: str, port: int = PORT) -> list[str]:
    """The command that serves the runs at `uri` to a browser."""
    where = ["--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    return [sys.executable, "-m", "mlflow", "ui", *where, "--workers", "1"]  # one person looks


def require_free(port: int) -> None:
    """Raise AddressError, with a port that is free, where something listens on this one."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise AddressError(
                f"port {port} of this machine cannot be used",
                error.strerror or str(error),
                f"distprop ui --port {free_port()}",
            ) from error


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
