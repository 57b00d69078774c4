"""How to look at the runs: MLflow's own pages."""

import sys
from collections.abc import Mapping

PORT = 5000
SETTINGS: Mapping[str, str] = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""What the server is told, unless the user tells it otherwise: its eight processes for jobs of its own have no job."""


def command(uri: str, port: int = PORT) -> list[str]:
    """The command that serves the runs at `uri` to a browser; of a server, which does so already, its address."""
    if uri.startswith(("http://", "https://")):
        return [uri]
    return [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port", str(port)]
