"""How to look at the runs: MLflow's own pages."""

import sys

PORT = 5000


def command(uri: str, port: int = PORT) -> list[str]:
    """The command that serves the runs at `uri` to a browser; of a server, which does so already, its address."""
    if uri.startswith(("http://", "https://")):
        return [uri]
    return [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port", str(port)]
