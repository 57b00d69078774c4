"""Gradients of tables: of the rows that were touched, and of no others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.nn.layers import build_layer
from distprop.nn.network import Network, Pass, build_network
from distprop.nn.rows import square_of_rows
from distprop.nn.workspace import Workspace
from tests.nn.cases import rng, row_room


def network_of(places: int, padding: int | None, sparse: bool = True) -> Network:
    """One table in a branch, another deeper in a second branch, behind layers that count, too."""
    table = {"embedding": {"rows": 5, "width": 2, "padding": padding, "sparse": sparse}}
    inner = {"sequence": [{"reshape": [places]}, table]}
    return build_network([{"parallel": [[table], [inner]]}, "tanh", "flatten", {"dense": 2}], (places,))


def passed(network: Network, ids: list[int], size: int, rows=None) -> np.ndarray:
    flat = np.empty(network.arena.size, np.float32)
    network.init(3, flat)
    gradient = np.full(size, np.nan, np.float32)
    run = Pass(Workspace(), training=True, rows=rows)
    _, backward = network.forward(flat, np.array([ids], np.float32), run)
    backward(rng(3).normal(size=(1, 2)).astype(np.float32), gradient)
    return gradient


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 4), min_size=2, max_size=40), padding=st.sampled_from([None, 0, 2]))
def test_it_is_the_dense_gradient_without_rows_of_zeros(ids, padding):
    network, dense = network_of(len(ids), padding), network_of(len(ids), padding, sparse=False)
    rooms = [row_room(2 * len(ids), 2) for _ in network.tables]
    for _ in range(2):  # another leaf's rows stand behind those of the first
        small = passed(network, ids, network.arena.gradient_size, rooms)
    whole = dense.arena.views(passed(dense, ids, dense.arena.size))
    assert set(network.tables) == {"0.parallel.0.0.embedding.W", "0.parallel.1.0.sequence.1.embedding.W"}
    for name, rows in zip([slot.name for slot in network.arena.tables], rooms, strict=True):
        first, second = rows.since(), rows.since(len(rows) // 2)
        assert np.array_equal(first.ids[: len(second.ids)], second.ids)
        made = np.zeros((5, 2), np.float32)
        made[second.ids] = second.rows
        assert np.array_equal(made, whole[name])
        assert list(second.ids) == sorted(set(ids) - {padding})
    rest = np.concatenate([whole[slot.name].ravel() for slot in network.arena.slots if not slot.table])
    assert np.array_equal(small, rest)


def test_where_a_gradient_has_room_for_whole_tables_it_has_them():
    network, dense = network_of(6, None), network_of(6, None, sparse=False)
    found = network.arena.views(passed(network, [1, 2, 2, 0, 4, 1], network.arena.size))
    expected = dense.arena.views(passed(dense, [1, 2, 2, 0, 4, 1], dense.arena.size))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_squares_of_rows_are_those_of_all_their_values():
    rows = row_room(3, 2)
    rows.append(np.array([4, 7]), np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    assert square_of_rows([rows.since(), rows.since(1)]) == 30.0 + 25.0
    assert square_of_rows([]) == 0.0
    rows.clear()
    assert len(rows) == 0


@pytest.mark.parametrize("settings", [{"sparse": 1}, {"sparse": "yes"}, {"sparse": True, "width": 20_000}], ids=str)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="embedding"):
        build_layer({"embedding": {"rows": 5, "width": 2, **settings}})
