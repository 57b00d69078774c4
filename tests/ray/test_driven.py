"""A tiny case through real processes: what `steps` and `wire` drive."""

from contextlib import closing
from itertools import pairwise

import pytest

from benchmarks.driven import Driven, on_ray
from benchmarks.job import Job
from distprop.runtime.ray.connecting import connect
from tests.ray.conftest import Running

pytestmark = pytest.mark.ray


def test_blocks_begin_at_the_same_weights_and_count_their_steps(cluster: Running) -> None:
    job = Job(({"dense": 8}, "relu", {"dense": 3}), (5,), 3, 24, 4)
    with closing(connect(cluster.address, cpus=2)), on_ray(), closing(Driven(job.blueprint(), workers=2)) as driven:
        first, second = driven.run(6), driven.run(9)
        assert (len(first.times), len(second.times)) == (6, 9)
        assert first.losses == second.losses[:6]
        assert second.losses[-1] < second.losses[0]
        assert all(before < after for before, after in pairwise(second.times))
