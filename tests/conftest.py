"""All tests compute with the kernel of real jobs: pytest executes itself again with its environment.

They keep out of the user's folders, too, and hear nothing of the user's addresses.
"""

import fcntl
import gc
import os
import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from distprop.numerics.kernel import environment, in_force, reexecute_with

SHORT = ("config", "data", "model", "nn", "optim", "wire")
"""Rooms of many short tests."""

ON_RAY = re.compile(r"^tests/ray/|^tests/scenarios/(test_killed|test_a_run|.*[-\[]ray\]$)")
"""Names of the tests that are marked `ray`: whoever deals tests out to processes knows their names only."""


def pytest_configure(config: pytest.Config) -> None:
    """Kernels count from the moment NumPy loads. Not before capturing has given back standard output."""
    wanted = environment("auto")
    if not in_force(wanted):
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.stop_global_capturing()
        reexecute_with(wanted)
    _choose_examples()


def _choose_examples() -> None:
    """New examples every time; what lands is judged by the same ones."""
    from hypothesis import settings  # takes a second, which the process that is replaced need not spend

    # No deadlines: how long an example takes is the machine's, and what else runs on it.
    settings.register_profile("new", deadline=None)
    settings.register_profile("same", deadline=None, derandomize=True)
    settings.load_profile("same" if os.environ.get("CI") else "new")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first; rooms of many short tests are last, so that all processes end together."""
    for item in items:
        if _is(item, "ray") != bool(ON_RAY.search(item.nodeid)):
            raise pytest.UsageError(f"{item.nodeid} is marked `ray`, or its name says so, but not both: see ON_RAY")
    items.sort(key=_turn)


def pytest_collection_finish() -> None:
    """What was collected stays: a full collection of garbage need not look at it every time."""
    gc.collect()
    gc.freeze()


def _turn(item: pytest.Item) -> int:
    if _is(item, "ray"):
        return 0
    return 1 if _is(item, "scenario") else 3 if item.path.parent.name in SHORT else 2


def _is(item: pytest.Item, mark: str) -> bool:
    return item.get_closest_marker(mark) is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests on Ray share a cluster: one process has them all. So it has those of a file, which share fixtures.

    Those of tracking share imports that take seconds.
    """
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            if ON_RAY.search(nodeid):
                return "ray"
            if file.startswith("tests/scenarios/"):
                return nodeid
            return "tracking" if file.startswith("tests/tracking/") else file

    return ByFile(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISTPROP_CACHE", str(folder))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file as MLflow makes it for a first run, which takes seconds: to be copied, not to be used."""
    if find_spec("mlflow") is None:
        pytest.skip("MLflow makes its store")
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # of all processes of this run
    file = folder / "mlflow.db"
    with (folder / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            _make_store(file)
    return file


def _make_store(file: Path) -> None:
    from distprop.tracking.address import make_client

    unfinished = file.with_name("unfinished.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported
        make_client(f"sqlite:///{unfinished}").search_experiments()
    unfinished.rename(file)
