"""Laws of layers that are computed again on the way back: all bits stay, and memory does not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.nn.activity import watched
from distprop.nn.leaf import LeafComputer
from distprop.nn.losses import LOSSES
from distprop.nn.network import build_network
from tests.nn.cases import allocated, rng, row_room, weights_of

FLAT: list[Any] = [
    "tanh",
    {"repeat": [3, ["relu", {"dropout": 0.3}, {"dense": 6}, "batch_norm", "tanh"]]},
    {"residual": ["gelu", {"dense": 6}, {"residual": [{"dropout": 0.2}, {"dense": 6}]}]},
    {"parallel": [[["sigmoid", {"dense": 6}], [{"residual": ["tanh", {"dense": 6}]}], [{"sequence": ["relu"]}]]]},
    {"sequence": ["flatten"]},
    "relu",
    {"dense": 3},
]
IMAGES: list[Any] = [
    {"conv2d": 4},
    {"repeat": [2, [{"conv2d": 4}, "batch_norm", "relu", {"dropout": 0.2}]]},
    {"repeat": [2, [{"dropout": 0.2}, {"conv2d": 4}, "relu", {"max_pool2d": {"size": 2, "stride": 1}}]]},
    {"residual": [{"conv2d": 4}, {"group_norm": 2}, "relu", {"dropout": 0.2}]},
    {"parallel": [[["relu", {"max_pool2d": 2}], ["average_pool2d"]]]},
    {"sequence": ["layer_norm", {"conv2d": {"channels": 4, "groups": 2}}, "gelu"]},
    {"residual": ["relu", {"dropout": 0.1}]},
    "global_average_pool",
    {"dense": 3},
]
# The first and the second to last block tell lengths, other ones, in the same memory aside.
TOKENS: list[Any] = [
    {"sequence": [{"embedding": {"rows": 5, "width": 4, "padding": 0}}]},
    {"repeat": [2, [{"residual": ["layer_norm", {"attention": 2}, {"dropout": 0.1}]}]]},
    {"sequence": [{"gru": {"units": 4, "output": "sequence"}}, "tanh"]},
    {"residual": [{"lstm": {"units": 4, "output": "sequence"}}]},
    {"gru": {"units": 1, "output": "sequence"}},
    "relu",
    {"sequence": ["mask", {"lstm": {"units": 4, "output": "sequence"}}]},
    {"sequence": ["global_average_pool", {"dense": 4}]},
    {"dense": 3},
]
MODELS = {"flat": (FLAT, (6,)), "images": (IMAGES, (7, 6, 2)), "tokens": (TOKENS, (9,))}
each = pytest.mark.parametrize("name", MODELS)


def written(layers: list[Any], recompute: bool) -> list[Any]:
    """The layers as a config has them, all containers with this setting."""
    return [_written(layer, recompute) for layer in layers]


def _written(layer: Any, recompute: bool) -> Any:
    kind, given = ("", None) if isinstance(layer, str) else next(iter(layer.items()))
    if kind in ("sequence", "residual"):
        return {kind: {"layers": written(given, recompute), "recompute": recompute}}
    if kind == "repeat":
        return {kind: {"times": given[0], "layers": written(given[1], recompute), "recompute": recompute}}
    if kind == "parallel":
        return {kind: {"branches": [written(one, recompute) for one in given[0]], "recompute": recompute}}
    return layer


def leaf(layers: list[Any], shape: tuple[int, ...], recompute: bool) -> LeafComputer:
    network = build_network(written(layers, recompute), shape)
    return LeafComputer(network, LOSSES["softmax_cross_entropy"], (), 3, activity=watched(network.stages))


def rows_of(computer: LeafComputer, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    shape = (count, *computer.network.input_shape)
    x = rng(seed).integers(0, 5, shape) if len(shape) == 2 and shape[1] == 9 else rng(seed).normal(size=shape)
    return x.astype(np.float32), rng(seed).integers(0, 3, count)


def found(computer: LeafComputer, rows: int, step: int = 0) -> tuple[bytes, ...]:
    """All bits of a leaf and of an evaluation."""
    x, y = rows_of(computer, rows)
    flat = weights_of(computer.network)
    out = np.full_like(flat, np.nan)
    tail = computer.gradient(flat, x, y, None, step, 1, out)
    return tail.tobytes(), out.tobytes(), computer.evaluate(flat, x, y).tobytes()


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[LeafComputer, LeafComputer]]:
    """Of each model a computer with, and one without; used by all examples, one after the other."""
    return {name: (leaf(*model, True), leaf(*model, False)) for name, model in MODELS.items()}


@each
@settings(max_examples=12, deadline=None)
@given(rows=st.one_of(st.integers(1, 20), st.integers(33, 50)), step=st.integers(0, 2**30))
def test_every_bit_is_that_of_values_which_are_kept(
    name: str, pairs: dict[str, tuple[LeafComputer, LeafComputer]], rows: int, step: int
) -> None:
    """Gradients, running statistics, tails, and what is seen of units: masks are drawn alike, nothing counts twice."""
    again, kept = pairs[name]
    assert found(again, rows, step) == found(kept, rows, step)


@each
def test_parameters_begin_alike_under_the_same_names(
    name: str, pairs: dict[str, tuple[LeafComputer, LeafComputer]]
) -> None:
    again, kept = pairs[name]
    assert again.network.arena == kept.network.arena
    assert weights_of(again.network).tobytes() == weights_of(kept.network).tobytes()


def test_rows_of_a_sparse_table_are_appended_once() -> None:
    told = []
    for recompute in (True, False):
        table = {"embedding": {"rows": 5, "width": 4, "sparse": True}}
        computer = leaf([{"repeat": [1, [table, {"gru": 4}, {"dropout": 0.1}]]}, {"dense": 3}], (9,), recompute)
        (x, y), appended = rows_of(computer, 20), row_room(200, 4)
        out = np.empty(computer.network.arena.gradient_size, np.float32)
        computer.gradient(weights_of(computer.network), x, y, None, 0, 0, out, rows=(appended,))
        told.append((out.tobytes(), *(values.tobytes() for values in appended.since())))
    assert told[0] == told[1] and len(appended) == 5


BLOCK: list[Any] = [{"dense": 64}, "gelu", {"dropout": 0.1}, {"dense": 64}, "tanh"]
DEEP: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "repeat": ([{"repeat": [12, BLOCK]}, {"dense": 3}], (64,)),
    "residuals": ([*[{"residual": BLOCK}] * 12, {"dense": 3}], (64,)),
    "sequences": ([*[{"sequence": BLOCK}] * 12, {"dense": 3}], (64,)),
    "images": ([*[{"residual": [{"conv2d": 8}, "gelu", {"conv2d": 8}]}] * 12, "flatten", {"dense": 3}], (8, 8, 8)),
    "normalized": ([{"repeat": [8, 2 * [{"conv2d": 8}, "batch_norm", "relu"]]}, "flatten", {"dense": 3}], (8, 8, 8)),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_network_needs_less_than_half_of_the_memory(name: str) -> None:
    again, kept = (leaf(*DEEP[name], recompute) for recompute in (True, False))
    for computer in (again, kept):
        found(computer, 64)
    assert again.workspace.nbytes < 0.5 * kept.workspace.nbytes


@pytest.mark.parametrize("name", ["repeat", "residuals", "sequences"])
def test_the_summary_tells_the_memory_and_the_arithmetic(name: str) -> None:
    again, kept = (leaf(*DEEP[name], recompute) for recompute in (True, False))
    found(again, 64)
    lines = again.network.summary()
    told = sum(line.activation_bytes_per_row for line in lines) + max(line.aside_bytes_per_row for line in lines)
    assert 0.5 < 2 * 64 * told / again.workspace.nbytes < 2.0
    more = sum(line.flops_per_row for line in lines) - sum(line.flops_per_row for line in kept.network.summary())
    assert more == sum(stage.layer.flops(stage.input_shape) for stage in kept.network.stages[:-1])


WIDE: list[Any] = [{"repeat": [4, [{"dense": 128}, "gelu", "batch_norm", {"dense": 128}]]}, {"dense": 3}]


def test_a_steady_leaf_allocates_no_more_than_where_values_are_kept() -> None:
    """Each array of values has 128 kB here."""
    leaves = [leaf(WIDE, (128,), recompute) for recompute in (True, False)]
    again, kept = (allocated(computer, *rows_of(computer, 256)) for computer in leaves)
    assert again < kept + 2**13 < 2**17


@pytest.mark.parametrize("kind", ["sequence", "repeat", "residual", "parallel"])
def test_it_is_true_or_false(kind: str) -> None:
    inner: dict[str, Any] = {"branches": [["relu"]]} if kind == "parallel" else {"layers": ["relu"]}
    more = {"times": 2} if kind == "repeat" else {}
    with pytest.raises(ConfigError, match=rf"`{kind}.recompute` is 2[\s\S]*true or false"):
        build_network([{kind: {**inner, **more, "recompute": 2}}], (4,))
