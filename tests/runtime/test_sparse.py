"""Tables of which a step touches few rows: the law of bits, who is updated, and what it costs."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop import checkpoint
from distprop.config import load_job
from distprop.errors import ConfigError
from distprop.nn import arena
from distprop.runtime.memory import WeightLayout, anonymous
from distprop.runtime.replica import Replica, slot_layout
from distprop.training.assembling import assemble
from tests.runtime.small import Fate, Ran, chance_of, run, small_job, stop_at, written

IDS, ROWS = 60, 83
SPARSE: dict[str, Any] = {"rows": IDS, "width": 3, "sparse": True}
WAYS: dict[str, dict[str, Any]] = {
    "clipped": {"adam": {"learning_rate": 0.02}, "clip_norm": 0.3},
    "decayed": {"adamw": {"learning_rate": 0.02, "weight_decay": 0.1}},
    "before": {"adam": {"learning_rate": 0.02, "weight_decay": 0.1}, "clip_norm": 0.3},
    "momentum": {"sgd": {"learning_rate": 0.1, "momentum": 0.9}, "rates": {"1.*": 0.5}},
    "frozen": {"sgd": {"learning_rate": 0.1}, "rates": {"0.embedding.W": 0}},
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Rows of five ids, small ones more often: some rows of a table are touched at each step, some hardly ever."""
    chance = np.random.default_rng(2)
    ids = np.minimum(chance.geometric(0.08, (ROWS, 5)), IDS - 1).astype(np.float32)
    label = (ids.sum(axis=1) % 3).astype(np.int64)
    return written(tmp_path_factory.mktemp("tokens"), {"ids": ids, "label": label}, "tokens")


def model(**changes: Any) -> list[Any]:
    """A table at the bottom, and two within branches, one of them with a padding."""
    own = {**SPARSE, **changes}
    branches = [[{"embedding": {**own, "padding": 2}}, "global_average_pool"], [{"embedding": own}, "flatten"]]
    return [{"parallel": {"branches": branches, "join": "concat"}}, {"dense": 3}]


def sparse_job(name: str, rows: str, room: Path, **changes: Any) -> dict[str, Any]:
    layers = [{"embedding": SPARSE}, "flatten", {"dense": 3}] if name == "frozen" else model()
    given = {"data__features": {"ids": {}}, "model": layers, "optimizer": WAYS[name], "data__batch_size": 17, **changes}
    given["diagnostics"] = {"enabled": name != "clipped"}
    return small_job(rows, room, **given)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if tables had many blocks, so that slices end in the middle of them."""
    monkeypatch.setattr(arena, "BLOCK", 20)


@cache
def alone(name: str, rows: str, room: Path) -> Ran:
    return run(sparse_job(name, rows, room))


@pytest.mark.parametrize("name", WAYS)
@given(seed=st.integers(0, 2**32), servers=st.integers(1, 4), kills=st.integers(0, 3))
@settings(max_examples=4, deadline=None)
def test_any_hosts_arrivals_losses_and_crashes_give_the_same_bits(
    name: str, seed: int, servers: int, kills: int, tokens: str, room: Path
) -> None:
    ran = run(sparse_job(name, tokens, room), servers, chance_of(seed, servers), Fate(seed, kills))
    assert ran.numbers == alone(name, tokens, room).numbers


@pytest.mark.parametrize("name", ["clipped", "momentum"])
def test_a_stop_and_a_resume_elsewhere_change_no_bit(name: str, tokens: str, tmp_path: Path, room: Path) -> None:
    job = sparse_job(name, tokens, tmp_path)
    stopped = run(job, 2, (0, 1, 1), listeners=[stop_at(5)])
    assert stopped.result.status == "interrupted"
    resumed = run(job, 3, (2, 0, 1, 1), resume=stopped.result.checkpoint)
    assert resumed.result.digest == alone(name, tokens, room).result.digest


def test_without_state_it_is_what_a_dense_gradient_gives(tokens: str, tmp_path: Path) -> None:
    plain = {"sgd": {"learning_rate": 0.3}}
    weights = []
    for sparse in (True, False):
        job = sparse_job("clipped", tokens, tmp_path / str(sparse), model=model(sparse=sparse), optimizer=plain)
        weights.append(weights_of(job, run(job, 2, (0, 1, 1))))
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        assert np.allclose(values, weights[1][name], rtol=1e-4, atol=1e-6), name


def weights_of(job: dict[str, Any], ran: Ran) -> dict[str, Any]:
    assert ran.result.checkpoint is not None
    views = network_of(job).arena.views(checkpoint.open_checkpoint(ran.result.checkpoint).weights())
    return dict(views)


def test_rows_that_no_step_touches_keep_their_weights(tokens: str, tmp_path: Path) -> None:
    job = sparse_job("decayed", tokens, tmp_path)
    network = network_of(job)
    start = np.empty(network.arena.size, np.float32)
    network.init(job["seed"], start)
    before, after = network.arena.views(start), weights_of(job, run(job))
    for name, values in before.items():
        if values.shape == (IDS, 3):
            moved = np.any(values != after[name], axis=1)
            assert moved[1] and not moved[0], "no row has the id 0"
            assert moved[2] == (not name.startswith("0.parallel.0.")), "the padding of one of them"


def network_of(job: dict[str, Any]) -> Any:
    return assemble(load_job(job)).blueprint.network


@pytest.mark.parametrize(
    "optimizer",
    [
        {"lamb": {}},
        {"lars": {"learning_rate": 1.0}},
        {"adam": {}, "average": 0.9},
        {"adam": {}, "accumulate": 2},
    ],
    ids=lambda spec: "-".join(spec),
)
def test_what_needs_all_rows_at_once_is_refused(optimizer: dict[str, Any], tokens: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sparse") as caught:
        run(sparse_job("decayed", tokens, tmp_path, optimizer=optimizer))
    assert caught.value.fix


def test_a_worker_has_room_for_what_a_step_touches_and_not_for_tables(tokens: str, tmp_path: Path) -> None:
    large = [{"embedding": {**SPARSE, "rows": 2_000_000}}, "flatten", {"dense": 3}]
    blueprint = assemble(load_job(sparse_job("decayed", tokens, tmp_path, model=large))).blueprint
    layout = slot_layout(blueprint)
    assert layout.values == 5 * 3 * 3 + 3
    assert layout.size < 200_000
    replica = Replica(0, blueprint, anonymous(WeightLayout(blueprint.parameters).size), anonymous(layout.size))
    replica.close()
