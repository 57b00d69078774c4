"""Laws of augmentation: what a leaf becomes is a function of its rows and of (seed, step, shard), nothing else."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from distprop.data.augmenting import AUGMENTS, Leaf, parse_augment
from distprop.data.moving import centre, flipped
from distprop.data.noise import normal
from distprop.philox import bits

IMAGES: list[list[dict[str, Any]]] = [
    [{"flip": "horizontal"}], [{"flip": {"axis": "vertical", "probability": 0.7}}], [{"shift": 2}],
    [{"shift": {"pixels": 1, "fill": "edge"}}], [{"crop": {"height": 3, "width": 4}}], [{"noise": 0.1}],
    [{"amplitude": 0.3}], [{"flip": "vertical"}, {"crop": {"height": 5, "width": 4}}, {"shift": 1}, {"noise": 0.2}],
]  # fmt: skip
SEQUENCES: list[list[dict[str, Any]]] = [[{"shift": 3}], [{"crop": {"length": 7}}], [{"noise": 1}, {"amplitude": 1}]]
CASES = [((6, 5, 2), one) for one in IMAGES] + [((9, 2), one) for one in SEQUENCES]
LEAVES = st.builds(Leaf, st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 2**20))


def rows_of(shape: tuple[int, ...], rows: int = 12) -> NDArray[np.float32]:
    """Values that are all different."""
    x = 1.0 + np.arange(rows * math.prod(shape), dtype=np.float32).reshape(rows, *shape)
    x.flags.writeable = False
    return x


def test_every_augmentation_has_a_case() -> None:
    assert {name for _, steps in CASES for step in steps for name in step} == AUGMENTS.keys()


@pytest.mark.parametrize(("shape", "spec"), CASES)
@given(leaf=LEAVES, rows=st.integers(1, 11))
@settings(max_examples=15)
def test_a_leaf_is_a_function_of_its_key_and_each_row_of_its_place(
    shape: tuple[int, ...], spec: Any, leaf: Leaf, rows: int
) -> None:
    augmentation, x = parse_augment(spec), rows_of(shape)
    once, again = augmentation.apply(x, leaf), augmentation.apply(x.copy(), leaf)
    assert once.tobytes() == again.tobytes()
    assert np.array_equal(augmentation.apply(x[:rows], leaf), once[:rows]), "no row depends on those after it"
    promised = (*augmentation.crop, *shape[len(augmentation.crop) :])
    assert (once.shape, once.dtype, once.flags.c_contiguous) == ((12, *promised), np.dtype("float32"), True)


@pytest.mark.parametrize(("shape", "spec"), CASES)
def test_other_seeds_steps_and_shards_draw_otherwise(shape: tuple[int, ...], spec: Any) -> None:
    augmentation, x = parse_augment(spec), rows_of(shape, 60)
    keys = [Leaf(*key) for key in product((1, 2), (0, 5), (0, 3))]
    assert len({augmentation.apply(x, key).tobytes() for key in keys}) == len(keys)


def test_steps_of_one_kind_draw_apart() -> None:
    x = rows_of((4, 4, 1), 60)
    twice = parse_augment([{"noise": 0.5}, {"noise": 0.5}]).apply(x, Leaf(1, 2, 3))
    once = parse_augment([{"noise": 1.0}]).apply(x, Leaf(1, 2, 3))
    assert not np.allclose(twice, once)


@given(st.integers(1, 2), st.lists(st.booleans(), min_size=12, max_size=12))
@settings(max_examples=15)
def test_flipping_twice_changes_nothing(axis: int, chosen: list[bool]) -> None:
    x, which = rows_of((6, 5, 2)), np.array(chosen)
    once = flipped(x, axis, which)
    assert np.array_equal(flipped(once, axis, which), x)
    for row in range(12):
        assert np.array_equal(once[row], np.flip(x[row], axis - 1) if chosen[row] else x[row])


def test_a_flip_happens_as_often_as_it_says() -> None:
    x = rows_of((1, 2, 1), 4000)
    turned = parse_augment([{"flip": {"axis": "horizontal", "probability": 0.3}}]).apply(x, Leaf(1, 0, 0))
    assert np.mean(turned[:, 0, 0] != x[:, 0, 0]) == pytest.approx(0.3, abs=0.03)


@given(LEAVES, st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=25)
def test_a_crop_is_a_window_of_its_row(leaf: Leaf, height: int, width: int) -> None:
    x = rows_of((6, 5, 2))
    made = parse_augment([{"crop": {"height": height, "width": width}}]).apply(x, leaf)
    for row, window in zip(x, made, strict=True):
        top, left = (int(axis[0]) for axis in np.nonzero(row[..., 0] == window[0, 0, 0]))
        assert np.array_equal(window, row[top : top + height, left : left + width])


def test_crops_reach_every_place_alike_and_evaluations_cut_the_centre() -> None:
    x = np.broadcast_to(np.arange(9, dtype=np.float32)[:, None], (9000, 9, 1))
    made = parse_augment([{"crop": {"length": 7}}]).apply(x, Leaf(3, 1, 4))
    assert np.bincount(made[:, 0, 0].astype(int)) == pytest.approx([3000] * 3, rel=0.1)
    assert centre(x, (7,))[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert centre(rows_of((6, 5, 2)), (3, 2))[:, 0, 0, 0].tolist() == rows_of((6, 5, 2))[:, 1, 1, 0].tolist()


@pytest.mark.parametrize("fill", ["zero", "edge"])
@given(LEAVES)
@settings(max_examples=15)
def test_a_shift_moves_rows_whole_and_fills_what_is_left(fill: str, leaf: Leaf) -> None:
    x = rows_of((4, 4, 1), 30)
    made = parse_augment([{"shift": {"pixels": 1, "fill": fill}}]).apply(x, leaf)
    mode: Any = "edge" if fill == "edge" else "constant"
    for row, moved in zip(x, made, strict=True):
        wide = np.pad(row, ((1, 1), (1, 1), (0, 0)), mode)
        assert any(np.array_equal(moved, wide[a : a + 4, b : b + 4]) for a, b in product(range(3), repeat=2))


def test_noise_is_normal_and_as_strong_as_it_says() -> None:
    drawn = normal(bits(5, 6, (0, 0, 0), 50_000)).astype(float)
    moments = [np.mean(drawn), np.mean(drawn**2), np.mean(drawn**3), np.mean(drawn**4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.05)
    assert np.mean(np.abs(drawn) < 1) == pytest.approx(math.erf(math.sqrt(0.5)), abs=0.005)
    x = np.zeros((500, 7, 3), np.float32)
    assert np.std(parse_augment([{"noise": 0.25}]).apply(x, Leaf(1, 2, 3))) == pytest.approx(0.25, rel=0.02)


def test_amplitudes_stay_within_their_share() -> None:
    x = np.ones((2000, 3, 1), np.float32)
    made = parse_augment([{"amplitude": 0.2}]).apply(x, Leaf(1, 2, 3))
    assert np.ptp(made, axis=(1, 2)).max() == 0
    assert (made.min(), made.max()) == (pytest.approx(0.8, abs=0.01), pytest.approx(1.2, abs=0.01))
