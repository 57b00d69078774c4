"""All tests compute with the kernel of real jobs: pytest executes itself again with its environment.

They keep out of the user's folders, too, and hear nothing of the user's addresses.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from distprop.numerics.kernel import environment, in_force, reexecute_with

settings.register_profile("same", derandomize=True)  # what lands is judged by the same examples every time
if os.environ.get("CI"):
    settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Kernels count from the moment NumPy loads. Not before capturing has given back standard output."""
    wanted = environment("auto")
    if not in_force(wanted):
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.stop_global_capturing()
        reexecute_with(wanted)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISTPROP_CACHE", str(folder))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        yield folder
