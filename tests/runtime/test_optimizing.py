"""What a job asks of its optimizer beside its name is done: frozen, averaged, accumulated, lowered."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distprop import checkpoint, events
from distprop.checkpoint import Checkpoint
from distprop.errors import ConfigError
from distprop.nn.network import build_network
from tests.runtime.small import OPTIMIZERS, WIDTH, Ran, run, small_job, stop_at


def trained(rows: str, room: Path, /, *listeners: events.Listener, **changes: Any) -> tuple[Ran, list[Checkpoint]]:
    """A job that keeps every version from the first on, and these."""
    changes = {"checkpoint__every": "1 steps", "checkpoint__keep_last": 99, **changes}
    ran = run(small_job(rows, room, **changes), 2, (0, 1), listeners=listeners)
    assert ran.result.checkpoint is not None
    folder = Path(ran.result.checkpoint).parent
    return ran, [checkpoint.open_checkpoint(str(path)) for path in sorted(folder.glob("0*"))]


def views(job: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    return build_network(job["model"], (WIDTH,)).arena.views(weights)


def test_frozen_parameters_keep_their_bits_and_the_others_learn(rows: str, room: Path) -> None:
    _, versions = trained(rows, room, optimizer={"adamw": {}, "rates": {"0.*": 0, "*.b": 0.5}})
    network = build_network(small_job(rows, room)["model"], (WIDTH,))
    begun = np.empty(network.arena.size, np.float32)
    network.init(3, begun)
    first, last = (network.arena.views(weights) for weights in (begun, versions[-1].weights()))
    state = versions[-1].state(slice(0, network.arena.size))
    for name, values in last.items():
        frozen = name.startswith("0.")
        assert (values.tobytes() == first[name].tobytes()) is frozen
        for kept in state.values():
            assert np.any(network.arena.views(kept)[name]) is not np.bool_(frozen)


def test_rates_of_all_patterns_that_match_are_multiplied(rows: str, room: Path) -> None:
    """After one step of plain SGD from the same weights, ways are as long as rates."""
    made = []
    for rates in ({}, {"0.*": 0.5, "*.W": 0.5}):
        _, versions = trained(rows, room, optimizer={"sgd": {}, "rates": rates}, train={"steps": 1})
        made.append(views(small_job(rows, room), versions[0].weights()))
    begun = np.empty(sum(values.size for values in made[0].values()), np.float32)
    network = build_network(small_job(rows, room)["model"], (WIDTH,))
    network.init(3, begun)
    for name, start in network.arena.views(begun).items():
        plain, slowed = (one[name].astype(np.float64) - start for one in made)
        factor = {"0.dense.W": 0.25, "0.dense.b": 0.5, "3.dense.W": 0.5, "3.dense.b": 1.0}[name]
        np.testing.assert_allclose(slowed, factor * plain, atol=1e-7)


def test_the_average_is_what_is_evaluated_tested_and_kept(rows: str, room: Path) -> None:
    """The validation rows are the test rows here: one is measured on published weights, the other on loaded ones."""
    data = {"data__valid": rows, "data__test": rows, "train__evaluate_every": "1 steps"}
    ran, versions = trained(rows, room, optimizer=OPTIMIZERS["averaged"], **data)
    for count in range(1, len(versions) + 1):
        ages = 0.8 ** np.arange(count)[::-1]
        average = np.average([version.weights() for version in versions[:count]], axis=0, weights=ages)
        np.testing.assert_allclose(versions[count - 1].kept(), average, rtol=1e-5, atol=1e-6)
    metrics = ran.result.metrics
    assert metrics["valid/loss"] == metrics["test/loss"]
    plain, _ = trained(rows, room, optimizer={**OPTIMIZERS["averaged"], "average": None}, **data)
    trains = [[step.metrics["train/loss"] for step in one.of(events.StepEnded)] for one in (ran, plain)]
    assert trains[0] == trains[1]
    assert metrics["valid/loss"] != plain.result.metrics["valid/loss"]
    assert ran.result.digest != plain.result.digest == versions[-1].manifest.digest


def test_accumulated_steps_leave_the_weights_until_the_last_of_them(rows: str, room: Path) -> None:
    _, versions = trained(rows, room, optimizer=OPTIMIZERS["accumulated"])
    digests = [one.manifest.digest for one in versions]
    assert [before != after for before, after in pairwise(digests)] == [
        (version + 1) % 3 == 0 for version in range(1, 10)
    ]


def rates_of(ran: Ran) -> list[float]:
    return [step.metrics["learning_rate"] for step in ran.of(events.StepEnded)]


def test_a_plateau_lowers_the_rate_and_so_it_stays_after_a_resume(rows: str, room: Path) -> None:
    """Evaluated at 4, 8, 10; nothing is better by 9, so the rate falls at 8. It was 0.1, and falls to a tenth."""
    job = small_job(rows, room, optimizer=OPTIMIZERS["plateau"])
    lowered = 0.1 * 0.1
    assert rates_of(run(job)) == [0.1] * 8 + [lowered] * 2
    first = run(job, listeners=[stop_at(8)])
    rest = run(job, checkpoint=first.result.checkpoint)
    assert [*rates_of(first), *rates_of(rest)] == [0.1] * 8 + [lowered] * 2


def test_the_gradients_norm_is_that_of_the_mean_gradient_whatever_is_done_with_it(rows: str, room: Path) -> None:
    norms = {}
    for name, optimizer in OPTIMIZERS.items():
        ran = run(small_job(rows, room, optimizer={"clip_norm": 0.01, **optimizer}, train={"steps": 1}))
        norms[name] = ran.of(events.StepEnded)[0].metrics["gradient_norm"]
    assert norms.pop("groups") < norms["adam"], "what is frozen has no gradient"
    assert len(set(norms.values())) == 1


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ({"adamw": {}, "decay_exclude": ["*.bias"]}, "`optimizer.decay_exclude` has '*.bias'"),
        ({"adamw": {}, "rates": {"0.dense.w": 0.1}}, "did you mean `0.dense.W`"),
        ({"adamw": {}, "rates": {"*": 0}}, "freezes every parameter"),
        ({"lamb": {}, "clip_norm": 1.0}, "does not go with lamb"),
        ({"sgd": {"learning_rate": {"reduce_on_plateau": {"start": 1, "metric": "valid/f1"}}}}, "is not measured"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(optimizer: Any, said: str, rows: str, room: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(small_job(rows, room, optimizer=optimizer))
    assert said in str(caught.value)


def test_a_plateau_needs_validation_data(rows: str, room: Path) -> None:
    with pytest.raises(ConfigError, match="there is no validation data"):
        run(small_job(rows, room, optimizer=OPTIMIZERS["plateau"], data__valid=None))
