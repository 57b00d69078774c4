"""What is told of single layers: right, the same wherever it runs, and without a trace in the weights."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop import events
from distprop.config import load_job
from distprop.nn.tail import SQUARES, SUMS, WEIGHT
from distprop.runtime.examining import broken, noise
from distprop.training.assembling import assemble
from tests.runtime.small import OPTIMIZERS, Fate, Ran, chance_of, run, small_job, written

RATE = 0.1


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("rows"))


def job(rows: str, folder: Path, optimizer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return small_job(rows, folder, optimizer=optimizer, diagnostics={"every": "2 steps"}, **changes)


def seen(ran: Ran) -> list[tuple[Any, ...]]:
    return [(event.version, dict(event.figures), event.noise) for event in ran.of(events.Diagnosed)]


@pytest.mark.parametrize("name", ["lamb", "groups", "accumulated"])
@given(seed=st.integers(0, 10**6), servers=st.integers(1, 3))
@settings(max_examples=2, deadline=None)
def test_figures_are_the_same_wherever_it_runs(
    rows: str, tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, servers: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    alone = run(job(rows, folder, OPTIMIZERS[name]))
    spread = run(job(rows, folder, OPTIMIZERS[name]), servers, chance_of(seed, servers), Fate(seed))
    assert seen(spread) == seen(alone) != []
    assert spread.numbers == alone.numbers


@pytest.mark.parametrize("name", ["adamw", "lamb", "averaged"])
def test_looking_changes_no_bit(rows: str, tmp_path: Path, name: str) -> None:
    looked = run(job(rows, tmp_path, OPTIMIZERS[name]))
    blind = run({**job(rows, tmp_path, OPTIMIZERS[name]), "diagnostics": {"enabled": False}})
    assert seen(looked) and not seen(blind)
    assert looked.numbers == blind.numbers


@pytest.mark.parametrize("clip", [None, 1e9])
def test_lengths_and_ratios_are_those_of_the_formula(rows: str, tmp_path: Path, clip: float | None) -> None:
    """Under plain SGD an update is the rate times the gradient, in one pass and in two."""
    made = job(rows, tmp_path, {"sgd": {"learning_rate": RATE}, "clip_norm": clip}, train={"steps": 1})
    ran = run(made)
    blueprint = assemble(load_job(made)).blueprint
    weights = np.empty(blueprint.parameters, np.float32)
    blueprint.network.init(blueprint.seed, weights)
    told, _ = ran.of(events.Diagnosed)  # the other one is of the evaluation
    views, squares = blueprint.network.arena.views(weights), 0.0
    for layer in ("0.dense", "3.dense"):
        length = math.hypot(*(np.linalg.norm(views[f"{layer}.{name}"]) for name in ("W", "b")))
        norm = told.figures[f"gradient_norm/{layer}"]
        assert told.figures[f"update_ratio/{layer}"] == pytest.approx(RATE * norm / length, rel=1e-4)
        squares += norm**2
    (step,) = ran.of(events.StepEnded)
    assert step.metrics["gradient_norm"] == pytest.approx(math.sqrt(squares))


def test_what_is_frozen_is_not_judged(rows: str, tmp_path: Path) -> None:
    ran = run(job(rows, tmp_path, {"sgd": {"learning_rate": RATE}, "rates": {"0.*": 0}}))
    assert {name for _, figures, _ in seen(ran) for name in figures} >= {"gradient_norm/3.dense"}
    assert not [name for _, figures, _ in seen(ran) for name in figures if "0.dense" in name]


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_noise_is_what_rows_really_have(sizes: list[int], seed: int) -> None:
    """Over many draws of leaves of any sizes, without bias."""
    draw, truth, spread = np.random.default_rng(seed), 3.0, 2.0
    found = []
    for _ in range(300):
        leaves = [truth + spread * draw.normal(size=(size, 8)) for size in sizes]
        whole = np.concatenate(leaves)
        tail = np.zeros(SUMS)
        tail[WEIGHT] = len(whole)
        tail[SQUARES] = sum(np.sum(np.sum(leaf, axis=0) ** 2) / len(leaf) for leaf in leaves)
        found.append(noise(tail, len(sizes), float(np.sum(np.mean(whole, axis=0) ** 2))))
    variance, square = np.mean([one for one in found if one is not None], axis=0)
    assert variance == pytest.approx(8 * spread**2, rel=0.25)
    assert square == pytest.approx(8 * truth**2, rel=0.25)


def test_leaves_of_one_size_give_the_paper_s_formula() -> None:
    leaves = np.random.default_rng(0).normal(1.0, 1.0, size=(4, 5, 3))
    small, big = (float(np.mean(np.sum(leaves.mean(axis=1) ** 2, axis=1))), float(np.sum(leaves.mean((0, 1)) ** 2)))
    tail = np.zeros(SUMS)
    tail[WEIGHT], tail[SQUARES] = 20, sum(np.sum(leaf.sum(axis=0) ** 2) / 5 for leaf in leaves)
    told = noise(tail, 4, big)
    assert told is not None
    assert told.variance == pytest.approx((small - big) / (1 / 5 - 1 / 20))
    assert told.square == pytest.approx((20 * big - 5 * small) / (20 - 5))


def test_one_leaf_tells_no_noise() -> None:
    tail = np.zeros(SUMS)
    tail[WEIGHT], tail[SQUARES] = 20, 7.0
    assert noise(tail, 1, 0.3) is None
    assert noise(tail, 2, math.inf) is None


@pytest.mark.parametrize(
    ("now", "before", "named"),
    [
        ({"a": math.nan, "b": math.nan, "c": math.nan}, {"a": 1.0, "b": 1e9, "c": 3.0}, "layer b"),
        ({"a": math.nan, "b": math.nan, "c": math.nan}, {"a": math.inf, "b": math.nan, "c": 3.0}, "layer b"),
        ({"a": math.nan, "b": math.nan, "c": 1.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, "layer b"),
        ({"a": math.nan, "b": math.nan}, {}, "no step before"),
    ],
)
def test_the_layer_that_broke_first_is_named(now: Any, before: Any, named: str) -> None:
    assert named in broken(7, now, before)
