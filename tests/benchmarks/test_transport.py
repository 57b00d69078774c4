"""What could carry arrays between hosts, for real but small."""

from contextlib import closing

import numpy as np
import pytest

from benchmarks.carriers import CARRIERS, Push, packed, unpacked
from benchmarks.part import Settings
from benchmarks.transport import Pair, Place, Took, _in_turns, _row, _there

HERE = Place("loopback", ([], []), "127.0.0.1", 1.0)


@pytest.mark.parametrize("name", CARRIERS)
def test_a_carrier_brings_back_what_it_was_given(name: str) -> None:
    """The process that calls compares them itself."""
    if not _there(name):
        pytest.skip("its package comes with an extra")
    with closing(Pair(name, HERE)) as pair:
        took = pair.run(0.001, 3)
    assert len(took.seconds) == 3
    assert took.cpu > 0


def test_an_array_goes_beside_its_message() -> None:
    array = np.arange(1000, dtype=np.float32)
    message, beside = packed(Push(7, array))
    assert len(message) < 500
    assert np.shares_memory(unpacked(message, beside), array)


def test_all_carriers_have_as_many_turns() -> None:
    class Counting:
        turns = 0

        def run(self, _size: float, trips: int) -> Took:
            self.turns += 1
            return Took([0.001] * trips, 0.002 * trips)

    pairs = {"framed": Counting(), "zeromq": Counting()}
    found = _in_turns(pairs, HERE, 2.0, Settings(quick=True, say=lambda _: None))  # type: ignore[arg-type]
    assert pairs["framed"].turns == pairs["zeromq"].turns == 1 + len(found["framed"])
    row = _row(HERE, 2.0, found)
    assert row["framed_ms"] == pytest.approx(1.0)
    assert row["framed_cpu_ms"] == pytest.approx(2.0)
    assert row["framed_share"] == pytest.approx(32.0)  # 4 MB are 32 ms of a link of 1 Gbit/s
