"""The cases compute what the design names, on both sides the same."""

import numpy as np
import pytest

from benchmarks.cases import CASES, TARGETS, Case, global_batch
from benchmarks.idle import IdleBlueprint, idle_job
from benchmarks.job import Job
from benchmarks.scale import PARAMETERS
from benchmarks.wire import SIZES
from distprop.nn.network import build_network
from distprop.protocol.course import TRAIN, Course, Round
from distprop.protocol.effects import Compute
from distprop.protocol.tree import Node
from distprop.runtime.memory import WeightLayout, anonymous
from distprop.runtime.replica import Replica, slot_layout

PARAMETERS_OF = {"A": 101_770, "B": 535_818, "C": 1_863_690, "D": 10_441_704}
DENSE = [case for case in CASES.values() if case.widths]


@pytest.mark.parametrize("case", DENSE, ids=lambda case: case.name)
def test_a_case_has_the_parameters_of_its_name(case: Case) -> None:
    assert build_network(case.layers, case.input_shape).arena.size == PARAMETERS_OF[case.name]


@pytest.mark.parametrize("case", [case for case in CASES.values() if not case.missing], ids=lambda case: case.name)
def test_the_products_of_a_case_are_all_but_its_elementwise_work(case: Case) -> None:
    counted = sum(product.flops for product in case.products)
    layers = build_network(case.layers, case.input_shape).summary()
    promised = case.rows * sum(layer.flops_per_row for layer in layers)
    assert 0.97 < counted / promised <= 1.0


def test_every_case_has_a_target() -> None:
    assert TARGETS.keys() == CASES.keys()


def test_a_case_whose_layers_are_not_there_says_which() -> None:
    for case in CASES.values():
        if case.missing:
            assert "conv" in case.missing
        else:
            assert build_network(case.layers, case.input_shape).output_shape == (case.classes,)


def test_shards_share_the_rows_of_a_step_whatever_their_number() -> None:
    x, y = global_batch((5,), 3, 24)
    for shards in (2, 8):
        dataset = Job(({"dense": 3},), (5,), 3, 24, shards).blueprint().dataset
        batches = [dataset.reader("train", shard).batch(4, 2) for shard in range(shards)]
        np.testing.assert_array_equal(np.concatenate([batch.x for batch in batches]), x)
        np.testing.assert_array_equal(np.concatenate([batch.y for batch in batches]), y)
        assert all(dataset.train_plan.leaf_rows(shard, 7) == 24 // shards for shard in range(shards))


@pytest.mark.parametrize("parameters", sorted({*SIZES, *PARAMETERS, 500_000}))
def test_an_idle_job_has_exactly_the_parameters_asked_for(parameters: int) -> None:
    assert idle_job(parameters, 2).blueprint(IdleBlueprint).parameters == parameters


def test_an_idle_leaf_fills_its_gradient_and_counts_its_rows() -> None:
    blueprint = idle_job(600, 2).blueprint(IdleBlueprint)
    computer, out = blueprint.computer(), np.full(600, np.nan, np.float32)
    batch = blueprint.dataset.reader("train", 1).batch(0, 0)
    tail = computer.gradient(np.empty(600, np.float32), batch.x, batch.y, None, 0, 1, out)
    assert (out == 1.0).all()
    assert computer.layout.read(tail) == {"loss": 1.0}


def test_an_idle_job_runs() -> None:
    """As workers of a cluster ask for its leaves: another way to call them would be missed by nobody but its users."""
    blueprint = idle_job(600, 2).blueprint(IdleBlueprint)
    slots, weights = anonymous(slot_layout(blueprint).size), anonymous(WeightLayout(600).size)
    replica, course = Replica(0, blueprint, weights, slots), Course((3, 3), 3, keeps=False)
    replica.perform(Compute(0, course, Round(0, TRAIN), Node(0, 1), 1, 0))
    assert (slot_layout(blueprint).gradient(slots, 0) == 1.0).all()
    replica.close()
