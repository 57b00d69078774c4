"""Layers that look along time: what padding must not change, and formulas."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError, DataError, ShapeError
from distprop.nn.gradient_check import check_layer
from distprop.nn.layer import Context, Layer
from distprop.nn.layers import build_layer
from distprop.nn.lengths import Lengths
from distprop.nn.network import Pass, build_network
from distprop.nn.position import waves
from distprop.nn.workspace import Workspace
from tests.nn.cases import rng, weights_of

ALONG_TIME = [
    {kind: {"units": 3, "bidirectional": both, "output": output}}
    for kind in ("lstm", "gru")
    for both in (False, True)
    for output in ("last", "sequence")
] + [{"attention": 2}, {"attention": {"heads": 1, "causal": True}}, "global_average_pool", "global_max_pool"]
EACH = pytest.mark.parametrize("spec", ALONG_TIME, ids=str)


def context(lengths=None, workspace=None, dtype=np.float64, **more) -> Context:
    counts = None if lengths is None else np.array(lengths, np.intp)
    return Context(workspace or Workspace(), 0, np.dtype(dtype), lengths=Lengths(counts), **more)


def with_lengths(layer: Layer, lengths) -> Layer:
    """The layer, as if a layer before had found these lengths."""

    def forward(p, x, ctx):
        return layer.forward(p, x, ctx.but(lengths=Lengths(np.array(lengths, np.intp))))

    return layer._replace(forward=forward)


def parameters(layer: Layer, shape, dtype=np.float64, seed: int = 4) -> dict[str, np.ndarray]:
    return {name: rng(seed).normal(size=of).astype(dtype) for name, of in layer.shapes(shape)[1].items()}


def passed(layer, p, x, ctx, dy=None):
    """y, dx and all gradients, as arrays of their own; dy is drawn where it is not given."""
    y, backward = layer.forward(p, x.copy(), ctx)
    kept, g = y.copy(), {name: np.full_like(view, np.nan) for name, view in p.items()}
    dy = rng(8).normal(size=y.shape).astype(y.dtype) if dy is None else dy
    return kept, backward(dy.copy(), g).copy(), g


@EACH
@settings(max_examples=6, deadline=None)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5), seed=st.integers(0, 2**16))
def test_gradients_belong_to_values_where_rows_are_padded(spec, lengths, seed):
    layer = with_lengths(build_layer(spec), lengths)
    assert check_layer(layer, (5, 4), rng(seed), len(lengths)) < 1e-6


@EACH
def test_a_padded_row_gives_what_it_gives_alone(spec):
    layer, lengths = build_layer(spec), [3, 0, 6, 1]
    p, x = parameters(layer, (6, 4)), rng().normal(size=(4, 6, 4))
    y, dx, _ = passed(layer, p, x, context(lengths))
    dy = rng(8).normal(size=y.shape)
    for row, length in enumerate(lengths):
        if not length:
            assert not y[row].any()
            assert not dx[row].any()
            continue
        along = y.ndim == 3
        own_dy = dy[row : row + 1, :length] if along else dy[row : row + 1]
        alone, alone_dx, _ = passed(layer, p, x[row : row + 1, :length], context(), own_dy)
        np.testing.assert_allclose(y[row, :length] if along else y[row], alone[0], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(dx[row, :length], alone_dx[0], rtol=1e-10, atol=1e-13)
        assert not dx[row, length:].any()
        assert not along or not y[row, length:].any()


@EACH
def test_padding_has_no_say(spec):
    layer, lengths = build_layer(spec), [3, 0, 6, 1]
    p, x = parameters(layer, (6, 4)), rng().normal(size=(4, 6, 4))
    other = x.copy()
    for row, length in enumerate(lengths):
        other[row, length:] = 1e6
    one, two = (passed(layer, p, values, context(lengths)) for values in (x, other))
    for a, b in zip((*one[:2], *one[2].values()), (*two[:2], *two[2].values()), strict=True):
        assert a.tobytes() == b.tobytes()


@EACH
def test_rows_that_are_all_padding_give_zeros(spec):
    layer = build_layer(spec)
    y, dx, g = passed(layer, parameters(layer, (6, 4)), rng().normal(size=(4, 6, 4)), context([0, 0, 0, 0]))
    assert not y.any()
    assert not dx.any()
    assert all(np.isfinite(view).all() for view in g.values())


@EACH
def test_full_lengths_change_no_bit(spec):
    layer = build_layer(spec)
    p, x = parameters(layer, (6, 4), np.float32), rng().normal(size=(4, 6, 4)).astype(np.float32)
    y, dx, g = passed(layer, p, x, context(dtype=np.float32))
    y2, dx2, g2 = passed(layer, p, x, context([6] * 4, dtype=np.float32))
    if spec != "global_average_pool":  # its mean is then a product
        assert y.tobytes() == y2.tobytes()
        assert dx.tobytes() == dx2.tobytes()
        assert all(g[name].tobytes() == g2[name].tobytes() for name in g)
    np.testing.assert_allclose(y, y2, rtol=1e-5)


@EACH
def test_float32_is_as_accurate_as_it_can_be(spec):
    layer, lengths = build_layer(spec), [30, 0, 17, 1]
    p, x = parameters(layer, (30, 8)), rng().normal(size=(4, 30, 8))
    exact = passed(layer, p, x, context(lengths))
    narrow = {name: view.astype(np.float32) for name, view in p.items()}
    found = passed(layer, narrow, x.astype(np.float32), context(lengths, dtype=np.float32))
    for a, b in zip((*found[:2], *found[2].values()), (*exact[:2], *exact[2].values()), strict=True):
        assert a.dtype == np.float32
        assert np.abs(a - b).max() < 1e-5 * max(1, np.abs(b).max())


EMBEDDED = [{"embedding": {"rows": 9, "width": 4, "padding": 0}}]
NETWORKS = [
    [*EMBEDDED, {"position": "learned"}, {"residual": ["layer_norm", {"attention": 2}]}, "global_average_pool"],
    [*EMBEDDED, {"residual": [{"attention": 2}]}, {"residual": [{"conv1d": {"channels": 4, "kernel": 1}}]}, {"gru": 3}],
    [*EMBEDDED, {"gru": {"units": 3, "bidirectional": True, "output": "sequence"}}, {"lstm": 2}],
    [*EMBEDDED, {"conv1d": 4}, "relu", {"lstm": {"units": 3, "output": "sequence"}}, "global_average_pool"],
]


def padded_ids(rows: int, seed: int = 0) -> np.ndarray:
    ids = rng(seed).integers(1, 9, (rows, 6))
    for row, length in enumerate(rng(seed + 1).integers(0, 7, rows)):
        ids[row, length:] = 0
    return ids.astype(np.float32)


@pytest.mark.parametrize("layers", NETWORKS, ids=str)
def test_a_pass_in_memory_that_was_used_gives_the_same_bits(layers):
    network = build_network([*layers, {"dense": 2}], (6,))
    flat, workspace, found = weights_of(network), Workspace(), []
    for seed in (1, 2, 3, 1):
        y, backward = network.forward(flat, padded_ids(21 + seed, seed), Pass(workspace, training=True))
        kept, g = y.tobytes(), np.full_like(flat, np.nan)
        backward(np.ones_like(y), g)
        assert np.isfinite(g).all()
        found.append((kept, g.tobytes()))
    assert found[3] == found[0] != found[1]


@pytest.mark.parametrize("layers", NETWORKS, ids=str)
def test_a_row_means_the_same_in_any_company(layers):
    """Lengths of one pass do not stay for the next, nor those of one piece for another."""
    network = build_network([*layers, {"dense": 2}], (6,))
    flat, ids, workspace = weights_of(network, np.float64), padded_ids(37), Workspace()
    y = network.predict(flat, ids, workspace)
    for row in (0, 17, 36):
        np.testing.assert_allclose(network.predict(flat, ids[row : row + 1], workspace)[0], y[row], rtol=1e-10)


def test_lengths_reach_through_containers_and_end_where_time_does():
    seen = []

    def spy(name):
        made = build_layer("relu")

        def forward(p, x, ctx):
            seen.append((name, None if ctx.lengths.values is None else ctx.lengths.values.tolist()))
            return made.forward(p, x, ctx)

        return made._replace(forward=forward)

    branches = {"branches": [["tanh", spy("in a branch")], ["relu"]]}
    layers = [
        spy("before"),
        {"sequence": [{"residual": ["mask", spy("in a residual")]}]},
        {"parallel": branches},
        spy("behind"),
        {"conv1d": {"channels": 2, "stride": 2}},
        spy("at half the steps"),
    ]
    x = np.ones((2, 4, 2))
    x[0, 2:] = 0
    network = build_network(layers, (4, 2))
    network.forward(weights_of(network, np.float64), x, Pass(Workspace()))
    assert dict(seen) == {
        "before": None,
        "in a residual": [2, 4],
        "in a branch": [2, 4],
        "behind": [2, 4],
        "at half the steps": None,
    }


def test_a_mask_looks_at_the_end_alone():
    x = np.full((4, 5, 2), 7.0)
    x[0, 1] = -1  # in between
    x[1, 3:] = -1
    x[2, 4, 0] = -1  # one value of two
    x[3] = -1
    ctx = context()
    y, _ = build_layer({"mask": -1}).forward({}, x, ctx)
    assert y is x
    assert ctx.lengths.values.tolist() == [5, 3, 5, 0]


def test_a_padding_id_gives_zeros_and_tells_the_lengths():
    layer, ctx = build_layer({"embedding": {"rows": 4, "width": 2, "padding": 1}}), context()
    p = parameters(layer, (3,))
    y, _ = layer.forward(p, np.array([[0.0, 1, 2], [3, 1, 1]]), ctx)
    assert ctx.lengths.values.tolist() == [3, 1]
    zero = np.zeros(2)
    np.testing.assert_array_equal(y, [[p["W"][0], zero, p["W"][2]], [p["W"][3], zero, zero]])


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_gradients_of_an_id_are_added_in_order(ids):
    layer, x = build_layer({"embedding": {"rows": 5, "width": 2}}), np.array([ids], np.float32)
    p, dy = parameters(layer, x.shape[1:], np.float32), rng(3).normal(size=(1, len(ids), 2)).astype(np.float32)
    dy = dy.reshape(1, 2) if len(ids) == 1 else dy
    _, dx, g = passed(layer, p, x, context(dtype=np.float32), dy)
    expected = np.zeros((5, 2), np.float32)
    for place, row in zip(ids, dy.reshape(-1, 2), strict=True):
        expected[place] += row
    np.testing.assert_allclose(g["W"], expected, rtol=1e-5, atol=1e-6)
    assert not dx.any()


@pytest.mark.parametrize("wrong", [5, -1, 1.5, np.nan, np.inf, 3e9, 1e30])
def test_an_id_that_is_none_is_named(wrong):
    layer = build_layer({"embedding": {"rows": 5, "width": 2}})
    with pytest.raises(DataError, match="id ") as caught:
        layer.forward(parameters(layer, (3,)), np.array([[0, wrong, 1]], np.float32), context(dtype=np.float32))
    assert f"{wrong:g}" in str(caught.value)
    assert "from 0 to 4" in str(caught.value)


def test_sinusoidal_positions_are_their_formula():
    made = waves(6, 5, np.dtype(np.float64))
    for t in range(6):
        for column in range(5):
            angle = t / 10_000 ** (2 * (column // 2) / 5)
            assert made[t, column] == pytest.approx(np.cos(angle) if column % 2 else np.sin(angle))
    x = rng().normal(size=(2, 6, 5))
    np.testing.assert_allclose(build_layer({"position": "sinusoidal"}).forward({}, x, context())[0], x + made)


def test_a_causal_step_does_not_see_what_comes():
    layer = build_layer({"attention": {"heads": 2, "causal": True}})
    p, x = parameters(layer, (6, 4)), rng().normal(size=(3, 6, 4))
    y = layer.forward(p, x, context())[0].copy()
    x[:, 4:] += 1
    later, _ = layer.forward(p, x, context())
    np.testing.assert_allclose(later[:, :4], y[:, :4], rtol=1e-12)
    assert np.abs(later[:, 4:] - y[:, 4:]).min() > 1e-6


def test_attention_to_large_scores_stays_finite():
    layer = build_layer({"attention": 1})
    p, x = parameters(layer, (4, 3), np.float32), 1e3 * rng().normal(size=(2, 4, 3)).astype(np.float32)
    y, dx, g = passed(layer, p, x, context(dtype=np.float32))
    assert all(np.isfinite(array).all() for array in (y, dx, *g.values()))


@pytest.mark.parametrize("lengths", [None, [40 - row for row in range(30)]], ids=["whole", "padded"])
@pytest.mark.parametrize(
    "spec",
    [
        {"lstm": {"units": 24, "bidirectional": True, "output": "sequence"}},
        {"gru": {"units": 24, "bidirectional": True, "output": "sequence"}},
        {"lstm": 300},
        {"gru": 300},
        {"attention": {"heads": 3, "causal": True}},
        {"position": "learned"},
        {"position": "sinusoidal"},
        "mask",
        "global_average_pool",
        "global_max_pool",
        {"embedding": {"rows": 99, "width": 24, "padding": 0}},
    ],
    ids=str,
)
def test_a_pass_that_was_done_before_allocates_nothing_large(spec, lengths):
    layer, workspace = build_layer(spec), Workspace()
    x = rng().normal(size=(30, 40, 24)).astype(np.float32)
    if layer.ids:
        x = rng().integers(0, 99, (30, 400)).astype(np.float32)
    p = parameters(layer, x.shape[1:], np.float32)
    g, dy = {name: np.empty_like(view) for name, view in p.items()}, None

    def work():
        nonlocal dy
        y, backward = layer.forward(p, x, context(lengths, workspace, np.float32))
        dy = np.ones_like(y) if dy is None else dy
        backward(dy, g)

    work()
    tracemalloc.start()
    try:
        work()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 64_000


def test_a_summary_has_parameters_work_and_memory():
    layers = [{"embedding": {"rows": 10, "width": 8}}, {"attention": 2}, {"lstm": 4}, {"gru": 4}]
    lines = build_network(layers[:3], (5,)).summary()
    assert [line.parameters for line in lines] == [80, 4 * 64 + 4 * 8, (8 + 4 + 1) * 16]
    assert [line.output_shape for line in lines] == [(5, 8), (5, 8), (4,)]
    assert lines[1].flops_per_row == 3 * (5 * 2 * 4 * 64 + 2 * 2 * 25 * 8)
    assert lines[2].flops_per_row == 3 * 5 * 2 * (8 + 4) * 16
    assert lines[1].activation_bytes_per_row == 4 * (40 + 4 * 40 + 2 * 5 * 6)
    assert lines[2].activation_bytes_per_row == 4 * (4 + 5 * (8 + 16 + 8))


@pytest.mark.parametrize(
    ("spec", "shape", "error", "said"),
    [
        ({"lstm": 3}, (5,), ShapeError, r"\(5,\)[\s\S]*\(T, D\)"),
        ({"gru": 3}, (2, 5, 1), ShapeError, r"\(2, 5, 1\)"),
        ({"attention": 3}, (5, 4), ShapeError, "divides by 3"),
        ({"position": "learned"}, (5,), ShapeError, r"\(T, D\)"),
        ("mask", (5,), ShapeError, "`padding`"),
        ({"lstm": 0}, (5, 4), ConfigError, "`lstm.units` is 0"),
        ({"gru": {"units": 3, "output": "sequense"}}, (5, 4), ConfigError, "did you mean `sequence`"),
        ({"gru": {"units": 3, "bidirectional": "yes"}}, (5, 4), ConfigError, "true or false"),
        ({"attention": {"heads": 2, "causal": 1}}, (5, 4), ConfigError, "true or false"),
        ({"attention": 0}, (5, 4), ConfigError, "`attention.heads` is 0"),
        ({"position": "lerned"}, (5, 4), ConfigError, "did you mean `learned`"),
        ({"mask": "zero"}, (5, 4), ConfigError, "`mask.value` is 'zero'"),
        ({"embedding": {"rows": 2**25, "width": 2}}, (5,), ConfigError, "float32"),
        ({"embedding": {"rows": 4, "width": 2, "padding": 4}}, (5,), ConfigError, "from 0 to 3"),
    ],
)
def test_what_does_not_fit_is_refused(spec, shape, error, said):
    with pytest.raises(error, match=said):
        build_layer(spec).shapes(shape)
