"""Laws of the arena and of the workspace."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distprop.errors import ShapeError
from distprop.nn.arena import lay_out
from distprop.nn.arrays import BLOCK
from distprop.nn.workspace import ALIGNMENT, Workspace

SHAPES = st.lists(
    st.one_of(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.tuples(st.integers(1, 40_000))), max_size=5
)


def arena_of(shapes):
    return lay_out([(f"{index}.dense.W", shape) for index, shape in enumerate(shapes)])


@given(SHAPES)
def test_views_cover_the_vector_in_order(shapes):
    arena = arena_of(shapes)
    flat = np.arange(arena.size)
    views = arena.views(flat)
    assert [view.shape for view in views.values()] == shapes
    assert np.array_equal(np.concatenate([flat[:0], *(view.ravel() for view in views.values())]), np.arange(arena.size))


@given(SHAPES)
def test_blocks_cover_the_vector_and_cross_no_view(shapes):
    arena = arena_of(shapes)
    borders = [0, *(block.stop for block in arena.blocks)]
    assert [(block.start, block.stop) for block in arena.blocks] == list(itertools.pairwise(borders))
    assert borders[-1] == arena.size
    assert all(0 < block.stop - block.start <= BLOCK for block in arena.blocks)
    assert {slot.stop for slot in arena.slots} <= set(borders)


def test_writing_a_view_writes_the_vector():
    flat = np.zeros(6)
    arena_of([(2, 2), (2,)]).views(flat)["0.dense.W"][1, 0] = 7
    assert flat.tolist() == [0, 0, 7, 0, 0, 0]


def test_views_of_read_only_weights_are_read_only():
    flat = np.zeros(4, np.float32)
    flat.flags.writeable = False
    assert not arena_of([(2, 2)]).views(flat)["0.dense.W"].flags.writeable


@pytest.mark.parametrize("shape", [(5,), (7,), (2, 3)])
def test_a_vector_of_another_size_is_refused(shape):
    with pytest.raises(ShapeError, match="6 values"):
        arena_of([(6,)]).views(np.zeros(shape))


def test_a_buffer_is_lent_again():
    workspace, float32 = Workspace(), np.dtype(np.float32)
    first = workspace.buffer(("y",), (8, 4), float32)
    held = workspace.nbytes
    assert workspace.buffer(("y",), (8, 4), float32) is first
    assert np.shares_memory(workspace.buffer(("y",), (3, 4), float32), first)
    assert workspace.nbytes == held


def test_buffers_of_other_names_and_types_are_apart():
    workspace = Workspace()
    buffers = [workspace.buffer((name,), (8,), np.dtype(dtype)) for name in "yz" for dtype in (np.float32, np.float64)]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(buffers, 2))


def test_a_buffer_grows_and_the_small_memory_is_let_go():
    workspace, float32 = Workspace(), np.dtype(np.float32)
    workspace.buffer(("y",), (2,), float32)
    large = workspace.buffer(("y",), (100,), float32)
    assert np.shares_memory(workspace.buffer(("y",), (2,), float32), large)
    assert workspace.nbytes == large.nbytes


def test_buffers_start_on_a_cache_line():
    buffer = Workspace().buffer(("y",), (3, 5), np.dtype(np.float32))
    assert buffer.ctypes.data % ALIGNMENT == 0
    assert buffer.flags.c_contiguous
