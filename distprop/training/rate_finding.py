"""Which learning rate to try: a short training whose rate rises exponentially (Smith 2017, arXiv:1506.01186)."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distprop import events
from distprop.config import Job, load_job
from distprop.config.sections import Checkpoint, Diagnostics, Tracking, Train
from distprop.errors import ConfigError, DivergedError
from distprop.report import RateTest
from distprop.training.entry import train

KEEP = 0.9  # of the smoothed loss, with each step
BROKEN = 4.0
"""The test ends when the smoothed loss is this many times its smallest."""
FALL = 0.98
"""A loss that never gets below this part of its first value has not fallen."""
REACH = 2  # steps to either side, over which a slope is taken


def find_rate(
    job: str | Path | Mapping[str, Any] | Job,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    workers: int | None = None,
    servers: int | None = None,
    address: str | None = None,
    inline: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    data: Any = None,
    listeners: Sequence[events.Listener] = (),
) -> RateTest:
    """Train from the start with rates from lowest to highest, and say how the loss went; nothing is kept of it.

    It ends early where the loss breaks. Where it runs is as for `train`. Raises as `train`, and ConfigError where the
    rates or steps make no test.
    """
    _require_range(lowest, highest, steps)
    loaded = load_job(job, overrides, in_memory=data is not None)
    heard = Losses(steps)
    with tempfile.TemporaryDirectory(prefix="distprop-rates-") as folder:
        test = rising(loaded, lowest, highest, steps, folder)
        try:
            where: dict[str, Any] = {"workers": workers, "servers": servers, "address": address, "inline": inline}
            result = train(test, data=data, listeners=[heard, *listeners], **where)
        except DivergedError:
            heard.broke = True
        else:
            if result.status == "interrupted" and not heard.enough:
                raise KeyboardInterrupt
    return judged(heard.rates, heard.losses, heard.broke)


def rising(job: Job, lowest: float, highest: float, steps: int, folder: str) -> Job:
    """The job as a test: another rate and length, no run, no test rows, checkpoints in a folder that goes."""
    every = max(1, steps - 1)
    rate = {"exponential": {"value": lowest, "factor": highest / lowest, "every": every}}
    settings = {**job.optimizer.settings, "learning_rate": rate}
    changed = {
        "optimizer": job.optimizer.model_copy(update={"settings": settings}),
        "data": job.data.model_copy(update={"test": None}),
        "train": Train(steps=steps + 1, evaluate_every=None),  # `Losses` ends it before the last one is evaluated
        "checkpoint": Checkpoint(every=None, dir=folder),
        "tracking": Tracking(enabled=False),
        "diagnostics": Diagnostics(enabled=False),
        "faults": (),
    }
    return job.model_copy(update=changed)


@dataclass
class Losses:
    """A listener that gathers rates and losses, and has enough once the loss breaks or `steps` are done."""

    steps: int
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # smoothed
    broke: bool = False
    enough: bool = False
    _mean: float = 0.0

    def __call__(self, event: events.Event) -> None:
        """Hear of a step."""
        if not isinstance(event, events.StepEnded) or self.enough:
            return
        loss = event.metrics["train/loss"]
        if math.isfinite(loss):
            self._hear(event.metrics["learning_rate"], loss)
        self.broke = not math.isfinite(loss) or self.losses[-1] > _limit(self.losses)
        self.enough = self.broke or len(self.losses) >= self.steps
        if self.enough:
            raise events.Stop("all rates are tried")

    def _hear(self, rate: float, loss: float) -> None:
        """Exponential means, without the bias of their start."""
        self._mean = KEEP * self._mean + (1.0 - KEEP) * loss
        self.rates.append(rate)
        self.losses.append(self._mean / (1.0 - KEEP ** len(self.rates)))


def _limit(losses: Sequence[float]) -> float:
    """Where a loss is broken; losses that may be negative rise from their smallest as far as they fell."""
    least = min(losses)
    return BROKEN * least if least > 0 else least + BROKEN * max(abs(least), losses[0] - least)


def judged(rates: Sequence[float], losses: Sequence[float], broke: bool) -> RateTest:
    """What a test has found: where the loss fell fastest, by the logarithm of the rate, and where it was smallest."""
    if not losses:
        return RateTest((), (), None, None, None)
    least = min(range(len(losses)), key=lambda place: losses[place])
    fell = losses[least] < losses[0] - (1.0 - FALL) * abs(losses[0])
    steepest = min(range(least + 1), key=lambda place: _slope(losses, place)) if fell else None
    return RateTest(
        rates=tuple(rates),
        losses=tuple(losses),
        suggestion=rates[steepest] if steepest is not None else None,
        smallest=rates[least] if fell else None,
        broke_at=rates[-1] if broke else None,
    )


def _slope(losses: Sequence[float], place: int) -> float:
    """Rates rise evenly by their logarithm, so that steps can stand for it."""
    before, after = max(0, place - REACH), min(len(losses) - 1, place + REACH)
    return (losses[after] - losses[before]) / max(1, after - before)


def _require_range(lowest: float, highest: float, steps: int) -> None:
    if not 0.0 < lowest < highest < math.inf:
        raise ConfigError(
            f"learning rates from {lowest:g} to {highest:g}",
            "the test goes through rates from a small one up to one that is too large",
            "leave --from and --to out, or give for example --from 1e-6 --to 10",
        )
    if steps < 10:
        raise ConfigError(
            f"{steps} steps for a test of learning rates",
            "each step tries one rate, and losses of single steps are noisy",
            "give --steps 100, or 10 at least",
        )
