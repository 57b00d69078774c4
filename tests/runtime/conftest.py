from pathlib import Path

import pytest

from tests.runtime.small import written


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of rows."""
    return written(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for checkpoints."""
    return tmp_path_factory.mktemp("checkpoints")
