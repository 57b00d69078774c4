"""Of a gradient that is being computed, what is told to be there is there: bits, tail and all."""

from typing import Any

import numpy as np
import pytest

from benchmarks.job import Job
from distprop.protocol.course import TRAIN, Course, Round
from distprop.protocol.effects import Compute
from distprop.protocol.messages import Early
from distprop.protocol.tree import Node
from distprop.runtime.memory import WeightLayout, anonymous, tail_in
from distprop.runtime.replica import Replica, slot_layout

MLP = ({"dense": 40}, "relu", {"dropout": 0.2}, {"dense": 30}, "gelu", {"dense": 20}, {"dense": 10})
NESTED = ({"dense": 24}, {"residual": [{"dense": 24}, "relu", {"dense": 24}]}, {"batch_norm": {}}, {"dense": 10})
SLICES = 6


@pytest.mark.parametrize("layers", [MLP, NESTED], ids=["in a row", "in containers"])
@pytest.mark.parametrize("leaves", [0, (0, 1), ((0, 1), (2, 3))], ids=["one leaf", "two", "four"])
def test_slices_that_are_told_early_are_as_they_stay(layers: Any, leaves: Any) -> None:
    blueprint = Job(layers, (12,), 10, 64, 4).blueprint()
    weights, slots = anonymous(WeightLayout(blueprint.parameters).size), anonymous(slot_layout(blueprint).size)
    blueprint.network.init(1, WeightLayout(blueprint.parameters).buffers(weights)[0])
    replica, heard = Replica(0, blueprint, weights, slots), []
    gradient, room = slot_layout(blueprint).gradient(slots, 0), slot_layout(blueprint).room(slots, 0)
    starts = blueprint.starts(SLICES)

    def tell(early: Early) -> None:
        heard.append((early.slice, gradient[starts[early.slice] :].copy(), tail_in(room).copy()))

    replica.tell = tell
    node = Node(0 if leaves == 0 else 1 if leaves == (0, 1) else 2, 0)
    for version in range(0, 12, 2):  # often enough for leaves to be computed together, where they are
        gradient[:] = np.nan
        heard.clear()
        course = Course((1000,) * 4, 1000)
        replica.perform(Compute(0, course, Round(version, TRAIN), node, leaves, 0, SLICES))
        for first, there, tail in heard:
            assert there.tobytes() == gradient[starts[first] :].tobytes()
            assert tail.tobytes() == tail_in(room).tobytes()
    told = [first for first, _, _ in heard]
    assert told == sorted(set(told), reverse=True)
    stacked = layers is MLP
    assert bool(told) == (leaves == 0 or stacked), "leaves that are added one by one are told of when all are there"
