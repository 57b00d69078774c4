"""Several starts on Ray: the same bits as inline, from one connection."""

from pathlib import Path

import pytest

from distprop.training import train
from tests.ray.conftest import Running
from tests.ray.making import job, write_rows

pytestmark = pytest.mark.ray


def test_several_starts_have_the_same_bits_on_ray(tmp_path: Path, cluster: Running) -> None:
    asked = job(write_rows(tmp_path / "rows.parquet"), tmp_path / "kept")
    asked["train"] = {"epochs": 2, "starts": 2}
    inline = train(asked, inline=True)
    result = train(asked, workers=2, servers=2, address=cluster.address)
    assert [row.digest for row in result.starts] == [row.digest for row in inline.starts]
    assert (result.digest, result.start, result.metrics) == (inline.digest, inline.start, inline.metrics)
