import http.server
import logging
import os
import threading
from pathlib import Path

import pytest

from distprop.errors import AddressError
from distprop.tracking import address, ui
from distprop.tracking.address import absolute, preflight, resolve_uri

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", *address.SETTINGS):
        monkeypatch.delenv(name, raising=False)


def test_the_address_is_the_configs_then_the_environments_then_a_file_here(monkeypatch):
    assert resolve_uri(None) == ("sqlite:///mlflow.db", "embedded")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert resolve_uri(None) == ("http://there", "MLFLOW_TRACKING_URI")
    assert resolve_uri("http://here") == ("http://here", "tracking.uri")


def test_a_relative_file_stays_the_same_file_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///runs.db") == f"sqlite:///{tmp_path}/runs.db"
    assert absolute(f"sqlite:///{tmp_path}/runs.db") == f"sqlite:///{tmp_path}/runs.db"
    for other in ("http://there", "sqlite:///", "postgresql://a/b"):
        assert absolute(other) == other


def test_what_the_user_has_set_is_not_changed(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    address.settle_environment()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "60"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert logging.getLogger("alembic").level == logging.WARNING


def test_a_file_that_can_be_made_passes_and_is_not_made(tmp_path):
    preflight(f"sqlite:///{tmp_path}/runs.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/runs.db", "text.db"])
def test_a_file_that_cannot_be_a_store_is_refused(tmp_path, name):
    Path(tmp_path / "text.db").write_text("not a database")
    with pytest.raises(AddressError):
        preflight(f"sqlite:///{tmp_path}/{name}")


def test_a_server_that_is_not_there_is_said_at_once():
    with pytest.raises(AddressError, match="does not answer") as caught:
        preflight("http://127.0.0.1:1")  # no process is given that port by chance
    assert "start the server" in caught.value.fix


class Door(http.server.BaseHTTPRequestHandler):
    """Healthy, and refuses the host name all the same."""

    def do_GET(self):
        body, code = (b"OK", 200) if self.path == "/health" else (b"Invalid Host header", 403)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name is http.server's

    def log_message(self, *_):
        pass


def test_a_server_that_refuses_the_real_call_is_refused_though_it_is_healthy():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(AddressError, match="does not answer") as caught:
                preflight(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert "--allowed-hosts" in caught.value.fix


def test_the_page_of_a_store_is_mlflows_and_that_of_a_server_its_own():
    assert ui.is_server("http://there:5000")
    assert ui.pages("http://there:5000/").startswith("http://there:5000/#/experiments")
    assert not ui.is_server("sqlite:///runs.db")
    shown = ui.command("sqlite:///runs.db", port=5001)
    assert shown[1:6] == ["-m", "mlflow", "ui", "--backend-store-uri", "sqlite:///runs.db"]
    assert shown[6:] == ["--host", "127.0.0.1", "--port", "5001", "--workers", "1"]


def test_user_and_password_are_never_shown():
    for given in (
        "http://ann:s3cret@127.0.0.1:1",
        "http://ann:s3c%40ret@127.0.0.1:1",
        "http://ann:s3@cret@127.0.0.1:1",
    ):
        assert address.without_secrets(given) == "http://127.0.0.1:1"
        with pytest.raises(AddressError, match="does not answer") as caught:
            preflight(given)
        assert "cret" not in str(caught.value)
        assert "ann:" not in str(caught.value)
