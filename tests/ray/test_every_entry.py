"""On Ray, too, every layer, metric and initializer keeps its bits: three jobs have them all."""

from pathlib import Path

import pytest

from distprop.events import WorkerLost
from distprop.nn.init import INITIALIZERS, WITH_SETTINGS
from distprop.nn.layers import LAYERS
from distprop.nn.metrics import METRICS
from distprop.runtime import blueprint
from distprop.training import train
from tests.ray.conftest import Running
from tests.ray.making import Watch
from tests.runtime.entries import WIDE, entry_job, used, write_table

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_table(tmp_path_factory.mktemp("rows"))


def test_the_jobs_use_every_layer_metric_and_initializer() -> None:
    """What else there is runs inline only, in more jobs than there is time for here."""
    found = used([entry_job(name, "rows", Path("room")) for name in WIDE])
    assert found["layers"] == LAYERS.keys(), "a new layer needs a place in one of WIDE of entries.py"
    assert found["metrics"] == METRICS.keys()
    assert found["initializers"] == {*INITIALIZERS, *WITH_SETTINGS}


@pytest.mark.parametrize("name", WIDE)
def test_two_hosts_with_slices_and_a_killed_worker_change_no_bit(
    name: str, rows: str, tmp_path: Path, cluster: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = Watch(), Watch()
    alone = train(entry_job(name, rows, tmp_path / "alone"), inline=True, listeners=[here])
    monkeypatch.setattr(blueprint, "PIECE", 20)
    planned = {**entry_job(name, rows, tmp_path / "two"), "faults": [{"kill": "worker", "index": 1, "step": 3}]}
    result = train(planned, workers=2, servers=2, address=cluster.address, listeners=[there])
    assert [event.worker for event in there.events if isinstance(event, WorkerLost)] == [1]
    assert (result.status, result.digest, result.metrics) == ("finished", alone.digest, alone.metrics)
    assert not there.contradictions and there.figures == here.figures
