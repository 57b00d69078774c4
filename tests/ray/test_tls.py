"""Under TLS a job gives the same digest, on Ray as in one process."""

import socket
from pathlib import Path
from typing import Any

import pytest

from distprop.errors import UserError
from distprop.runtime.process import coordinator
from distprop.runtime.wire.certificate import new_credentials
from distprop.runtime.wire.reaching import reach
from distprop.runtime.wire.seal import Sealed
from distprop.training import train
from tests.ray.conftest import Running
from tests.ray.making import job, write_rows

pytestmark = pytest.mark.ray


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return job(write_rows(tmp_path / "rows.parquet"), tmp_path / "checkpoints")


def own_files(folder: Path) -> dict[str, str]:
    made = new_credentials()
    (folder / "job.pem").write_text(made.certificate)
    (folder / "job.key").write_text(made.key)
    return {"certificate": str(folder / "job.pem"), "key": str(folder / "job.key")}


@pytest.mark.parametrize("own", [False, True], ids=["made for the job", "given"])
def test_a_job_under_tls_gives_the_same_digest(
    own: bool, config: dict[str, Any], cluster: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[socket.socket] = []

    def watched(*how: Any) -> socket.socket:
        reached.append(reach(*how))
        return reached[-1]

    monkeypatch.setattr(coordinator, "reach", watched)
    expected = train(config, inline=True)
    sealed = {**config, "wire": {"tls": own_files(tmp_path) if own else True}}
    result = train(sealed, workers=4, servers=2, address=cluster.address)
    assert (result.digest, result.metrics) == (expected.digest, expected.metrics)
    assert [type(sock) for sock in reached] == [Sealed, Sealed]


def test_a_certificate_that_is_not_there_is_the_users_error(config: dict[str, Any], cluster: Running) -> None:
    nowhere = {"certificate": "/nowhere/job.pem", "key": "/nowhere/job.key"}
    with pytest.raises(UserError, match="of `wire"):
        train({**config, "wire": {"tls": nowhere}}, workers=2, servers=1, address=cluster.address)
