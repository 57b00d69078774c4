"""However the arena is cut into slices, and whatever an update needs of all of it, the bits are the same."""

import gc
import weakref
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.loops import playing
from distprop.loops.tape import Register, Tape
from distprop.nn.arena import lay_out
from distprop.optim.groups import group_views
from distprop.optim.norms import global_norm
from distprop.optim.optimizer import Optimizer
from distprop.optim.optimizers import Extras, build_optimizer
from distprop.protocol.plan import cut
from distprop.runtime import updating
from distprop.runtime.memory import Arrived, Slot, SlotLayout, anonymous
from distprop.runtime.slice import Slice, runs_of, slice_of
from distprop.runtime.summing import PartialSums
from distprop.runtime.threads import Threads
from distprop.runtime.updating import Batch, Updater
from tests.optim.test_optimizers import lamb_value, lars_value

ARENA = lay_out([("0.dense.W", (250, 140)), ("0.dense.b", (140,)), ("2.dense.W", (140, 60)), ("2.dense.b", (60,))])
BATCH, STEPS, RATE = Batch(7.0, 5.0), 4, 0.05
Spec = tuple[str, dict[str, Any], Extras]
SPECS: dict[str, Spec] = {
    "plain": ("sgd", {}, Extras()),
    "clipped": ("adamw", {}, Extras(clip_norm=0.5, clip_value=0.9)),
    "lars": ("lars", {"coefficient": 0.1}, Extras()),
    "lars, clipped": ("lars", {"coefficient": 0.1}, Extras(clip_norm=0.5, decay_exclude=("*.b",))),
    "lamb": ("lamb", {}, Extras()),
    "lamb, all": ("lamb", {}, Extras(clip_value=0.9, accumulate=2, average=0.5, rates={"0.*": 0.5, "2.dense.b": 0})),
    "groups": ("adam", {}, Extras(rates={"*.b": 2.0, "2.dense.W": 0})),
    "accumulated": ("adamw", {}, Extras(clip_norm=0.5, accumulate=3, average=0.5)),
}
Vector = np.ndarray


def drawn(step: int) -> Vector:
    return np.random.default_rng(step).normal(size=ARENA.size).astype(np.float32)


@pytest.fixture(autouse=True)
def past_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large slices are, so that these small ones show what is done with those."""
    monkeypatch.setattr(updating, "STREAMED", ARENA.size // 2)


def made(spec: Spec, slices: int, threads: int = 1) -> tuple[Vector, list[Vector]]:
    """The weights after some steps by this many servers, and their block sums of squares in each."""
    kind, given_, extras = spec
    optimizer = build_optimizer(kind, {"learning_rate": RATE, **given_}, extras, STEPS)
    groups = group_views([slot.name for slot in ARENA.slots], extras.rates, extras.decay_exclude)
    buffers = drawn(99), np.full(ARENA.size, np.nan, np.float32)
    chosen = cut([block.stop - block.start for block in ARENA.blocks], slices)
    partial, pool = PartialSums(SlotLayout(ARENA.size, 3, 1)), Threads(threads)
    mine = [Slice.make(ARENA, one, optimizer, groups, buffers) for one in chosen]
    updaters = [Updater(one, optimizer, ARENA, partial, pool) for one in mine]
    norms = []
    for step in range(STEPS):
        totals = [Arrived(drawn(step)[one.span] * np.float32(BATCH.weight), np.zeros(3)) for one in mine]
        if optimizer.exchanges:
            sums = {i: one.reduce(totals[i], BATCH, step) for i, one in enumerate(updaters)}
            for one in updaters:
                one.finish(sums, step, 0.5)
            norms.append(np.concatenate([sums[i][0] for i in sums]))
        else:
            norms.append(
                np.concatenate([one.in_one_pass(totals[i], BATCH, step, 0.5)[0] for i, one in enumerate(updaters)])
            )
    return buffers[STEPS % 2], norms


def updater_of_all(optimizer: Optimizer, buffers: tuple[Vector, Vector]) -> Updater:
    """One that has the whole arena, and groups that are alike."""
    plain = group_views([slot.name for slot in ARENA.slots], {}, ())
    mine = Slice.make(ARENA, range(len(ARENA.blocks)), optimizer, plain, buffers)
    return Updater(mine, optimizer, ARENA, PartialSums(SlotLayout(ARENA.size, 3, 1)), Threads(1))


@cache
def whole(name: str) -> tuple[Vector, list[Vector]]:
    return made(SPECS[name], 1)


@pytest.mark.skipif(not playing.compiled(), reason="the compiled loop was not built: no C compiler")
@pytest.mark.parametrize("name", SPECS)
def test_numpy_alone_makes_the_bits_of_the_compiled_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, norms = whole(name)
    monkeypatch.setattr(playing, "_compiled", None)
    plain, plain_norms = made(SPECS[name], 2)
    assert plain.tobytes() == weights.tobytes()
    assert [one.tobytes() for one in plain_norms] == [one.tobytes() for one in norms]


@pytest.mark.parametrize("name", SPECS)
@given(slices=st.integers(2, len(ARENA.blocks) + 2), threads=st.integers(1, 2))
@settings(max_examples=3, deadline=None)
def test_any_number_of_servers_and_threads_makes_the_same_bits(name: str, slices: int, threads: int) -> None:
    weights, norms = made(SPECS[name], slices, threads)
    assert weights.tobytes() == whole(name)[0].tobytes()
    assert [one.tobytes() for one in norms] == [one.tobytes() for one in whole(name)[1]]


@pytest.mark.parametrize(("name", "formula"), [("lars", lars_value), ("lamb", lamb_value)])
def test_layers_have_rates_of_their_own(name: str, formula: Any) -> None:
    """Each view's weights are those of the formula on that view alone."""
    gradients = [ARENA.views(drawn(step).astype(np.float64)) for step in range(STEPS)]
    given_ = {"coefficient": 0.1} if name == "lars" else {}
    for view, found in ARENA.views(whole(name)[0]).items():
        begun = ARENA.views(drawn(99).astype(np.float64))[view]
        expected = formula(begun, [one[view] for one in gradients], RATE * 0.5, **given_)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_layers_without_decay_have_the_plain_rate() -> None:
    """As in the authors' code: with plain gradients, lars on a bias is SGD with momentum."""
    weights, _ = made(("lars", {"coefficient": 0.1}, Extras(decay_exclude=("*.b",))), 2)
    w, v = (np.array(values["0.dense.b"], np.float64) for values in (ARENA.views(drawn(99)), ARENA.views(0 * drawn(0))))
    for step in range(STEPS):
        v = 0.9 * v + RATE * 0.5 * ARENA.views(drawn(step))["0.dense.b"]
        w = w - v
    np.testing.assert_allclose(ARENA.views(weights)["0.dense.b"], w, rtol=1e-5, atol=1e-6)


def test_clipping_by_value_comes_before_clipping_by_norm() -> None:
    clipped = np.clip(drawn(0).astype(np.float64), -0.9, 0.9)
    optimizer = build_optimizer("sgd", {"learning_rate": 1.0}, Extras(clip_norm=0.5, clip_value=0.9), 1)
    buffers = np.zeros(ARENA.size, np.float32), np.zeros(ARENA.size, np.float32)
    updater = updater_of_all(optimizer, buffers)
    sums = updater.reduce(Arrived(drawn(0), np.zeros(3)), Batch(1.0, 1.0), 0)
    updater.finish({0: sums}, 0, 1.0)
    np.testing.assert_allclose(buffers[1], -clipped * 0.5 / np.linalg.norm(clipped), rtol=1e-5, atol=1e-9)
    assert global_norm(sums[0]) == pytest.approx(np.linalg.norm(drawn(0)), rel=1e-5), "the norm told is the gradient's"


def test_rows_that_weigh_nothing_change_nothing() -> None:
    optimizer = build_optimizer("sgd", {}, None, 1)
    buffers = drawn(99), np.full(ARENA.size, np.nan, np.float32)
    updater = updater_of_all(optimizer, buffers)
    norms = updater.in_one_pass(Arrived(0 * drawn(0), np.zeros(3)), Batch(0.0, 1.0), 0, 1.0)
    assert buffers[1].tobytes() == buffers[0].tobytes() and not norms.any()


@pytest.mark.parametrize("layerwise", [False, True])
def test_runs_keep_within_groups_and_where_it_counts_within_views(layerwise: bool) -> None:
    groups = group_views([slot.name for slot in ARENA.slots], {"2.*": 0.5}, ())
    chosen = range(1, len(ARENA.blocks))
    runs = runs_of(ARENA, chosen, groups, layerwise)
    blocks = [block for run in runs for block in run.shifted]
    base = slice_of(ARENA.blocks, chosen).start
    assert [(block.start + base, block.stop + base) for block in blocks] == [
        (block.start, block.stop) for block in ARENA.blocks[1:]
    ]
    assert [run.view for run in runs] == ([0, 1, 2, 3] if layerwise else [0, 2])


def test_a_sum_that_was_made_ready_is_read_where_its_worker_has_it_now() -> None:
    """A worker that takes another's place comes with memory of its own; other sums are made ready anew."""
    layout = SlotLayout(4, 3, 2)
    partial, total, other = PartialSums(layout), (Slot(0, 0), Slot(1, 0)), (Slot(1, 0), Slot(1, 1))
    memories = [anonymous(layout.size) for _ in range(3)]
    for value, memory in enumerate(memories, start=1):
        layout.gradient(memory, 0).fill(value)
        layout.gradient(memory, 1).fill(10 * value)

    def mean(of: Any) -> list[float]:
        out = Register(0)
        tape, found = Tape((out,)), np.empty(4, np.float32)
        added = partial.ready(of, slice(0, 4), out, 1)
        tape.ops.extend(added.ops)
        tape.multiply(added.out, 0.5, out=out)
        playing.play(tape, (found, *added.addends.vectors(slice(0, 4), partial.scratch)))
        return list(found)

    partial.attach(0, memories[0])
    partial.attach(1, memories[1])
    assert mean(total) == mean(total) == [1.5] * 4
    assert mean(other) == [11.0] * 4
    assert mean(total) == [1.5] * 4
    partial.attach(0, memories[2])
    assert mean(total) == [2.5] * 4


SUMS = ((Slot(0, 0), Slot(1, 0)), (Slot(1, 0), Slot(0, 0)), Slot(1, 0))
STEP = st.tuples(
    st.integers(0, len(SUMS) - 1),  # its sum
    st.sampled_from([BATCH, Batch(3.0, 5.0)]),
    st.sampled_from([1.0, 0.5]),  # the factor of the rate
    st.booleans(),  # whether it is looked at closely
)


@pytest.mark.parametrize("name", SPECS)
@given(steps=st.lists(STEP, min_size=2, max_size=5), threads=st.integers(1, 2))
@settings(max_examples=8, deadline=None)
def test_tapes_of_the_step_before_are_played_again_only_where_all_is_as_it_was(
    name: str, steps: list[Any], threads: int
) -> None:
    """One updater all along makes what a new one for each step makes."""
    kind, given_, extras = SPECS[name]
    optimizer = build_optimizer(kind, {"learning_rate": RATE, **given_}, extras, STEPS)
    groups = group_views([slot.name for slot in ARENA.slots], extras.rates, extras.decay_exclude)
    layout = SlotLayout(ARENA.size, 3, 1)
    partial = PartialSums(layout)
    for worker in range(2):
        memory = anonymous(layout.size)
        layout.gradient(memory, 0)[:] = drawn(worker)
        partial.attach(worker, memory)

    def run(anew: bool) -> list[bytes]:
        buffers = drawn(99), np.full(ARENA.size, np.nan, np.float32)
        mine = Slice.make(ARENA, range(len(ARENA.blocks)), optimizer, groups, buffers)
        pool = Threads(threads)
        updater, found = Updater(mine, optimizer, ARENA, partial, pool), []
        for version, (total, batch, factor, closely) in enumerate(steps):
            updater = Updater(mine, optimizer, ARENA, partial, pool) if anew else updater
            if optimizer.exchanges:
                sums = updater.reduce(SUMS[total], batch, version)
                found += [sums, updater.finish({0: sums}, version, factor, closely)]
            else:
                found += [updater.in_one_pass(SUMS[total], batch, version, factor, closely)]
            found += [buffers[(version + 1) % 2].copy()]
        return [one.tobytes() for one in found]

    assert run(anew=False) == run(anew=True)


def test_a_sum_from_another_host_is_let_go_when_its_step_is_over() -> None:
    optimizer = build_optimizer("sgd", {}, None, 1)
    buffers = drawn(99), np.full(ARENA.size, np.nan, np.float32)
    updater = updater_of_all(optimizer, buffers)
    total = Arrived(drawn(0), np.zeros(3))
    gone = weakref.ref(total)
    updater.in_one_pass(total, BATCH, 0, 1.0)
    del total
    gc.collect()
    assert gone() is None
