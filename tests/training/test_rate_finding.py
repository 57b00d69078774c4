"""A test of learning rates finds what is planted, leaves nothing behind, and says what is wrong with its input."""

import math
from pathlib import Path
from typing import Any

import pytest

from distprop import events
from distprop.config import load_job
from distprop.errors import ConfigError
from distprop.training.rate_finding import Losses, find_rate, judged, rising
from tests.runtime.small import small_job

RATES = [10.0 ** (-6 + 0.07 * place) for place in range(100)]


def step(version: int, rate: float, loss: float) -> events.StepEnded:
    return events.StepEnded(0.0, version, 0, {"train/loss": loss, "learning_rate": rate}, 8, 0.1, 0.0)


def heard(losses: list[float]) -> Losses:
    listener = Losses(len(RATES))
    for version, (rate, loss) in enumerate(zip(RATES, losses, strict=False)):
        try:
            listener(step(version, rate, loss))
        except events.Stop:
            break
    return listener


def test_the_steepest_fall_is_suggested_and_the_break_is_told() -> None:
    losses = [2.3 - 2.0 / (1.0 + math.exp(-2.0 * math.log10(rate / 1e-2))) for rate in RATES]
    losses[80:] = [100.0] * 20
    found = heard(losses)
    test = judged(found.rates, found.losses, found.broke)
    assert test.suggestion == pytest.approx(1e-2, rel=3.0) and test.smallest is not None
    assert test.suggestion < test.smallest <= RATES[80]
    assert test.broke_at is not None and RATES[80] <= test.broke_at <= RATES[84]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_it(loss: float) -> None:
    found = heard([2.0, 1.9, loss, 1.0])
    assert (found.broke, found.enough, len(found.losses)) == (True, True, 2)


def test_a_loss_below_0_breaks_only_where_it_rises() -> None:
    assert not heard([-1.0 - 0.05 * place for place in range(100)]).broke
    assert heard([-1.0 - 0.05 * place for place in range(50)] + [30.0] * 50).broke


def test_a_loss_that_does_not_fall_suggests_nothing() -> None:
    found = heard([2.3] * 100)
    test = judged(found.rates, found.losses, found.broke)
    assert (test.suggestion, test.smallest, test.broke_at) == (None, None, None) and len(test.losses) == 100
    assert judged([], [], broke=True).suggestion is None


def test_rates_rise_evenly_from_the_lowest_to_the_highest(rows: str, here: Path) -> None:
    seen: list[float] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.StepEnded):
            seen.append(event.metrics["learning_rate"])

    test = find_rate(
        small_job(rows, here / "kept"), lowest=1e-4, highest=1e-2, steps=11, inline=True, listeners=[listen]
    )
    assert test.rates == pytest.approx([1e-4 * 10 ** (0.2 * place) for place in range(11)])
    assert list(test.rates) == seen[:11]
    assert list(here.rglob("*")) == [], "no run, no checkpoint, no model"


def test_all_but_rate_and_length_stays_as_it_was(rows: str) -> None:
    job = load_job(small_job(rows, Path("kept"), cluster={"workers": 2}))
    test = rising(job, 1e-5, 1.0, 50, "elsewhere")
    same = ("seed", "model", "loss", "metrics", "cluster", "numerics")
    assert [getattr(test, key) for key in same] == [getattr(job, key) for key in same]
    assert test.data.valid == job.data.valid, "rows that are held out stay out"
    assert test.optimizer.extras == job.optimizer.extras
    assert (test.tracking.enabled, test.checkpoint.dir) == (False, "elsewhere")


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"lowest": 1.0, "highest": 0.1}, "rates from 1 to 0.1"), ({"lowest": 0.0}, "from 0"), ({"steps": 3}, "3 steps")],
)
def test_a_range_that_is_none_is_refused(rows: str, here: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        find_rate(small_job(rows, here), inline=True, **asked)
    assert "--" in refused.value.fix
