"""The law of tapes: the compiled loop has NumPy's bits, whatever is recorded, on whatever values, at whatever size."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.loops import playing
from distprop.loops.operations import SQUARES
from distprop.loops.tape import Register, Tape

needs_compiled = pytest.mark.skipif(not playing.compiled(), reason="the compiled loop was not built: no C compiler")
REGISTERS, MOST_SUMS = 5, 8
ODD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, 1.0], np.float32)
BINARY, WITH_LIMIT, UNARY = ("add", "subtract", "multiply", "divide"), ("minimum", "maximum"), ("sqrt", "sign", "copy")


@st.composite
def operations(draw):
    """A method of Tape and its arguments."""
    register = st.integers(0, REGISTERS - 1).map(Register)
    scalar = st.sampled_from([0.9, 1 / 3, -2.0, 1e-8, 1e300]) | st.floats(-1e3, 1e3)
    name, out = draw(st.sampled_from([*BINARY, *WITH_LIMIT, *UNARY, "fill"])), draw(register)
    if name in BINARY:
        return name, (draw(register), draw(register | scalar), out)
    if name in WITH_LIMIT:
        return name, (
            draw(register),
            draw(scalar.filter(lambda limit: abs(limit) > 1e-30)),
            out,
        )  # of 0 and -0 either is right
    return name, (draw(scalar if name == "fill" else register), out)


@st.composite
def tapes(draw):
    register = st.integers(0, REGISTERS - 1).map(Register)
    tape = Tape(draw(st.sets(register)))
    for name, arguments in draw(st.lists(operations(), min_size=1, max_size=12)):
        getattr(tape, name)(*arguments)
        if draw(st.integers(0, 3)) == 0 and len([op for op in tape.ops if op[0] == SQUARES]) < MOST_SUMS:
            tape.squares(draw(register))
    return tape


@st.composite
def cut(draw):
    """Where blocks end; empty ones among them."""
    size = st.integers(0, 40) | st.sampled_from([511, 512, 513, 1024, 1100, 4111, 9000])
    return tuple(accumulate(draw(st.lists(size, min_size=1, max_size=4))))


def drawn(size: int, seed: int, offset: int) -> tuple[np.ndarray, ...]:
    """Vectors of both signs and of many magnitudes, odd values among them; they begin anywhere in a cache line."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(REGISTERS):
        values = np.tan(draw.uniform(-1.5, 1.5, size + offset)).astype(np.float32)
        where = draw.random(values.size) < 0.1
        values[where] = draw.choice(ODD, int(where.sum()))
        found.append(values[offset:])
    return tuple(found)


def kept(tape: Tape, vectors: tuple[np.ndarray, ...]) -> list[bytes]:
    """What was to be kept; any NaN is as good as another."""
    found = [vector for register, vector in enumerate(vectors) if tape.kept >> register & 1]
    return [np.where(np.isnan(vector), np.float32(np.nan), vector).tobytes() for vector in found]


@needs_compiled
@given(
    tape=tapes(),
    stops=cut(),
    seed=st.integers(0, 99),
    offset=st.integers(0, 15),
    streamed=st.booleans(),
)
@settings(deadline=None)
def test_a_compiled_tape_has_numpys_bits(tape, stops, seed, offset, streamed):
    compiled, plain = drawn(stops[-1], seed, offset), drawn(stops[-1], seed, offset)
    sums = playing.play(tape, compiled, stops, streamed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(playing, "_compiled", None)
        plain_sums = playing.play(tape, plain, stops)
    np.testing.assert_array_equal(sums, plain_sums)  # to the bit; NaN is equal to NaN
    assert kept(tape, compiled) == kept(tape, plain)


@needs_compiled
def test_what_is_not_kept_and_not_written_stays():
    a, b, c, d = Register(0), Register(1), Register(2), Register(3)
    tape = Tape((b,))
    tape.add(a, 1.0, out=c)
    tape.add(c, a, out=b)
    vectors = drawn(700, 1, 3)[:4]
    before = [vector.copy() for vector in vectors]
    playing.play(tape, vectors)
    assert vectors[a].tobytes() == before[a].tobytes()
    assert vectors[d].tobytes() == before[d].tobytes()


def test_float64_is_numpys():
    x = np.array([1e-300, 2.0])
    tape = Tape((Register(0),))
    tape.multiply(Register(0), 0.5, out=Register(0))
    playing.play(tape, (x,))
    assert x.tolist() == [5e-301, 1.0]


def test_a_sum_of_more_vectors_than_are_compiled():
    count = playing.MOST + 40
    total, vectors = Register(0), [np.full(3, float(number), np.float32) for number in range(count)]
    tape = Tape((total,))
    for number in range(1, count):
        tape.add(total, Register(number), out=total)
    playing.play(tape, tuple(vectors))
    assert vectors[0].tolist() == [count * (count - 1) / 2] * 3


@needs_compiled
@pytest.mark.parametrize(
    ("vectors", "ops", "why"),
    [
        ((np.zeros(3, np.float32), np.zeros(4, np.float32)), [(0, 0, 0, 1, 0.0)], "differ in length"),
        ((np.zeros(3, np.float32), np.zeros(3, np.int32)), [(0, 0, 0, 1, 0.0)], "not of float32"),
        ((np.zeros(3, np.float32),), [(0, 0, 0, 1, 0.0)], "does not exist"),
        ((np.zeros(3, np.float32),), [(0, -1, 0, 0, 0.0)], "does not exist"),
        ((np.zeros(3, np.float32),), [(11, 0, 0, 0, 0.0)], "does not exist"),
        ((np.zeros(3, np.float32),), [(0, 0, 0, 0, 0.0)] * 513, "too long"),
        ((np.zeros(3, np.float32),) * 257, [], "too many registers"),
        ((np.zeros(3, np.float32),), [(10, 0, 0, -1, 0.0)] * 9, "too many sums"),
        ((np.zeros(3, np.float32),) * 33, [(0, n, n, n, 0.0) for n in range(33)], "writes to too many"),
    ],
)
def test_the_compiled_loop_touches_nothing_that_it_was_not_lent(vectors, ops, why):
    with pytest.raises(ValueError, match=why):
        playing._compiled.play(ops, vectors, 1, (3,), False)


@needs_compiled
def test_what_is_read_only_is_not_kept_into():
    vector = np.zeros(3, np.float32)
    vector.flags.writeable = False
    with pytest.raises((ValueError, BufferError), match="read-only"):
        playing._compiled.play([], (vector,), 1, (3,), False)


@needs_compiled
def test_strided_vectors_are_refused():
    with pytest.raises((ValueError, BufferError), match="contiguous"):
        playing._compiled.play([], (np.zeros(8, np.float32)[::2],), 0, (4,), False)


@needs_compiled
@pytest.mark.parametrize(("stops", "why"), [((1, 2), "do not end"), ((2, 1, 3), "out of order"), ((4,), "do not end")])
def test_blocks_that_do_not_fit_are_refused(stops, why):
    with pytest.raises(ValueError, match=why):
        playing._compiled.play([], (np.zeros(3, np.float32),), 0, stops, False)


def test_squares_are_told_block_by_block_as_they_are_at_that_moment():
    x = np.arange(6, dtype=np.float32)
    tape = Tape(())
    tape.squares(Register(0))
    tape.multiply(Register(0), 2.0, out=Register(0))
    tape.squares(Register(0))
    assert playing.play(tape, (x,), (2, 2, 6)) == [[1.0, 0.0, 54.0], [4.0, 0.0, 216.0]]
