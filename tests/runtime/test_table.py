"""Two versions of a table, of which a step writes what it touches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distprop.nn.arena import lay_out
from distprop.nn.rows import Touched
from distprop.optim.groups import PLAIN
from distprop.runtime.table import Table, added_up, parts_of

ROWS, WIDTH = 7, 2
PLAINLY = (PLAIN, PLAIN)
touched = st.lists(st.sets(st.integers(0, ROWS - 1)), max_size=8)


@given(steps=touched, first=st.integers(0, 3))
def test_both_versions_are_those_of_a_table_that_is_copied_whole(steps: list[set[int]], first: int) -> None:
    chance = np.random.default_rng(1)
    pairs = [tuple(np.full((ROWS, WIDTH), np.nan, np.float32) for _ in range(2)) for _ in range(2)]
    for pair in pairs:
        pair[first % 2][:] = chance.normal(size=(ROWS, WIDTH))
    whole = [pair[first % 2].copy() for pair in pairs]
    table = Table(pairs[0], {"m": pairs[1]})
    table.level(first, state=True)
    for version, ids in enumerate(steps, first + 1):
        before, made = [rows.copy() for rows in whole], np.array(sorted(ids), np.int64)
        for rows in whole:
            rows[made] = chance.normal(size=(len(made), WIDTH))
        table.make(version, made, whole[0][made], {"m": whole[1][made]})
        for pair, old, new in zip(pairs, before, whole, strict=True):
            assert np.array_equal(pair[version % 2], new)
            assert np.array_equal(pair[1 - version % 2], old), "workers still read it"
        assert np.array_equal(table.made(version).ids, made)
        assert np.array_equal(table.made(version).rows, whole[0][made])


@given(st.lists(st.lists(st.integers(0, ROWS - 1), unique=True), max_size=5), st.integers(1, 3))
def test_sums_and_their_squares_are_the_same_in_any_parts(lists: list[list[int]], cuts: int) -> None:
    chance = np.random.default_rng(2)
    arena = lay_out([("0.embedding.W", (40_000, WIDTH)), ("1.dense.W", (3, 3))], tables={"0.embedding.W"})
    assert [slot.name for slot in arena.slots] == ["1.dense.W", "0.embedding.W"] and arena.gradient_size == 9
    shares = [
        Touched(np.array(sorted(ids), np.int64) * 6000, chance.normal(size=(len(ids), WIDTH)).astype(np.float32))
        for ids in lists
    ]
    expected: dict[int, np.ndarray] = {}
    for share in shares:
        for key, row in zip(share.ids.tolist(), share.rows, strict=True):
            expected[key] = expected[key] + row if key in expected else row
    found, squares = {}, []
    for chosen in np.array_split(np.arange(len(arena.blocks)), cuts):
        for part in parts_of(arena, range(int(chosen[0]), int(chosen[-1]) + 1), PLAINLY):
            ids, rows = added_up(shares, part)
            assert list(ids) == sorted(ids)
            found |= {part.first + int(key): row for key, row in zip(ids, rows, strict=True)}
            squares += part.by_block(ids, rows).tolist()
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[key], expected[key], atol=1e-6) for key in found)
    (whole,) = parts_of(arena, range(len(arena.blocks)), PLAINLY)
    ids, rows = added_up(shares, whole)
    assert all(np.array_equal(found[int(key)], row) for key, row in zip(ids, rows, strict=True))
    assert squares == whole.by_block(ids, rows).tolist()
