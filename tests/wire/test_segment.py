"""Shared memory outlives its creator while somebody holds it, and leaves nothing behind."""

import os

import numpy as np
import pytest

from distprop.runtime.memory import SlotLayout, WeightLayout, anonymous
from distprop.runtime.wire.segment import Segment


def test_what_one_maps_another_sees() -> None:
    mine = Segment.create("test", 4096)
    theirs = Segment.open(os.dup(mine.fd), writable=False)
    np.frombuffer(mine.memory, np.float32)[5] = 2.5
    assert np.frombuffer(theirs.memory, np.float32)[5] == 2.5


def test_a_reader_cannot_write() -> None:
    segment = Segment.create("test", 4096)
    view = np.frombuffer(Segment.open(os.dup(segment.fd), writable=False).memory, np.float32)
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1.0


def test_layouts_lend_memory_that_does_not_overlap() -> None:
    weights = WeightLayout(parameters=33)
    first, second = weights.buffers(anonymous(weights.size))
    first[:], second[:] = 1.0, 2.0
    assert (first == 1.0).all() and (second == 2.0).all()
    slots = SlotLayout(values=33, tail=9, slots=3, tables=((5, 3), (2, 1)))
    memory = anonymous(slots.size)
    for slot in range(3):
        slots.gradient(memory, slot)[:], slots.room(memory, slot)[:] = slot, 10.0 + slot
        for rows, (capacity, width) in zip(slots.rows(memory, slot), slots.tables, strict=True):
            rows.append(np.full(capacity, slot), np.full((capacity, width), 20 + slot, np.float32))
    for slot in range(3):
        assert (slots.gradient(memory, slot) == slot).all() and (slots.room(memory, slot) == 10 + slot).all()
        for rows, (capacity, _) in zip(slots.rows(memory, slot), slots.tables, strict=True):
            assert len(rows) == capacity
            assert (rows.since().ids == slot).all() and (rows.since().rows == 20 + slot).all()
