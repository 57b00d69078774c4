"""Children and the bare probe, for real but small."""

from contextlib import closing
from multiprocessing.connection import Connection

import pytest

from benchmarks.cases import Case
from benchmarks.child import Child, ask_all, kernel_settings
from benchmarks.probe import Probe
from benchmarks.roofline import Rooflines


def double(connection: Connection, factor: int) -> None:
    """Multiply what is asked; a string is an error."""
    while (asked := connection.recv()) is not None:
        connection.send(asked * factor / 1)


def test_a_child_does_its_work_until_it_is_told_to_stop() -> None:
    with closing(Child(double, 3, settings=kernel_settings())) as child:
        assert [child.ask(number) for number in (1, 2)] == [3.0, 6.0]


def test_all_children_are_told_before_any_is_heard() -> None:
    children = [Child(double, factor, settings=kernel_settings()) for factor in (1, 10)]
    assert ask_all(children, 2) == [2.0, 20.0]
    for child in children:
        child.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_death_of_a_child_is_told() -> None:
    with closing(Child(double, 2, settings=kernel_settings())) as child, pytest.raises(RuntimeError, match="double"):
        child.ask("a")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_probe_takes_the_steps_it_is_asked_for(workers: int) -> None:
    with closing(Probe(1000, workers)) as probe:
        times = probe.run(20)
        assert len(times) == 20
        assert times == sorted(times)
        assert len(probe.run(5)) == 5


def test_a_leaf_takes_longer_than_its_products() -> None:
    with closing(Rooflines(Case("tiny", 64, 1, 1, (50, 40, 10)), 1, with_torch=False)) as roofs:
        assert 0.0 < roofs.numpy(0.02) < roofs.leaf(0.02)
