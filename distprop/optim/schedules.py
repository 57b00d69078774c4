"""Learning rate schedules: functions of the step, counted from 0, and of nothing else.

`reduce_on_plateau` is one, too: the rate before the factors of verdicts, with what those are made by.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distprop.errors import ConfigError
from distprop.optim.settings import require_number, require_whole
from distprop.suggest import suggest_name

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """The same rate at every step."""
    require_number("constant.value", value, 0.0)
    return lambda step: float(value)  # noqa: ARG005 - a function of the step all the same


def step(value: float, factor: float = 0.1, every: int | None = None, boundaries: Sequence[int] = ()) -> Schedule:
    """Give value, times `factor` once for each `every` steps done, or for each of `boundaries` reached."""
    require_number("step.value", value, 0.0)
    require_number("step.factor", factor, 0.0)
    if (every is None) == (not boundaries):
        raise ConfigError(
            "`step` has neither or both of `every` and `boundaries`", "one of them says when", "give `every: 1000`"
        )
    if every is not None:
        require_whole("step.every", every, 1)
        return lambda at: float(value * factor ** (at // every))
    for boundary in boundaries:
        require_whole("step.boundaries", boundary, 0)
    return lambda at: float(value * factor ** len([b for b in boundaries if at >= b]))


def exponential(value: float, factor: float, every: int = 1) -> Schedule:
    """Give value * factor^(step / every)."""
    require_number("exponential.value", value, 0.0)
    require_number("exponential.factor", factor, 0.0)
    require_whole("exponential.every", every, 1)
    return lambda at: float(value * factor ** (at / every))


def cosine(peak: float, total_steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine from peak to end (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return warmup_cosine(peak, 0, total_steps, end)


def linear(peak: float, total_steps: int, end: float = 0.0) -> Schedule:
    """A straight line from peak to end."""
    return warmup_linear(peak, 0, total_steps, end)


def polynomial(peak: float, power: float, total_steps: int, end: float = 0.0) -> Schedule:
    """Give end + (peak - end) (1 - done)^power, done being the share of total_steps."""
    require_number("polynomial.power", power, 0.0)
    return _warmup(peak, 0, total_steps, end, lambda done: float((1.0 - done) ** power))


def cosine_restarts(peak: float, period: int, factor: int = 1, end: float = 0.0) -> Schedule:
    """Half a cosine from peak to end, again and again, each `factor` times as long as the last.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983. period: steps of the first.
    """
    require_number("cosine_restarts.peak", peak, 0.0)
    require_number("cosine_restarts.end", end, 0.0)
    require_whole("cosine_restarts.period", period, 1)
    require_whole("cosine_restarts.factor", factor, 1)

    def at(step: int) -> float:
        start, length = (step - step % period, period) if factor == 1 else (0, period)
        while step >= start + length:
            start, length = start + length, length * factor
        return end + (peak - end) * _half_cosine((step - start) / length)

    return at


def one_cycle(
    peak: float, total_steps: int, rise: float = 0.3, start_factor: float = 25.0, end_factor: float = 1e4
) -> Schedule:
    """From peak / start_factor up to peak, then down to peak / start_factor / end_factor, by half cosines.

    Source: Smith & Topin 2019, arXiv:1708.07120; as torch's OneCycleLR. rise: the share of steps that go up.
    """
    require_number("one_cycle.peak", peak, 0.0)
    require_number("one_cycle.rise", rise, 0.0, 1.0)
    require_number("one_cycle.start_factor", start_factor, 1.0)
    require_number("one_cycle.end_factor", end_factor, 1.0)
    require_whole("total_steps", total_steps, 1)
    start, top, last = peak / start_factor, max(0.0, rise * total_steps - 1), total_steps - 1

    def at(step: int) -> float:
        if step < top:
            return peak + (start - peak) * _half_cosine(step / top)
        end = start / end_factor
        return end + (peak - end) * _half_cosine(min(1.0, (step - top) / max(1.0, last - top)))

    return at


def _half_cosine(done: float) -> float:
    """From 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * done))


def warmup_cosine(peak: float, warmup_steps: int, total_steps: int, end: float = 0.0) -> Schedule:
    """A linear rise to peak, then half a cosine to end (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return _warmup(peak, warmup_steps, total_steps, end, _half_cosine)


def warmup_linear(peak: float, warmup_steps: int, total_steps: int, end: float = 0.0) -> Schedule:
    """A linear rise to peak, then a straight line to end."""
    return _warmup(peak, warmup_steps, total_steps, end, lambda done: 1.0 - done)


def warmup_constant(peak: float, warmup_steps: int) -> Schedule:
    """A linear rise to peak, which is then kept."""
    return _warmup(peak, warmup_steps, warmup_steps + 1, peak, lambda done: 1.0)  # noqa: ARG005


def _warmup(peak: float, warmup_steps: int, total_steps: int, end: float, shape: Callable[[float], float]) -> Schedule:
    """Step s < warmup_steps has peak (s + 1) / warmup_steps; then `shape` leads from peak to end."""
    require_number("peak", peak, 0.0)
    require_number("end", end, 0.0)
    require_whole("warmup_steps", warmup_steps, 0)
    require_whole("total_steps", total_steps, 1)

    def at(step: int) -> float:
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return end + (peak - end) * shape(done)

    return at


@dataclass(frozen=True)
class Plateau:
    """A rate that evaluations lower. As a schedule: the rate before that.

    factor: of the rate, once `metric` was for `patience` evaluations in a row no better, by more than `min_delta`, than
    the best before.  floor: the smallest product of all factors.
    """

    start: float
    metric: str
    factor: float
    patience: int
    min_delta: float
    floor: float

    def __call__(self, step: int) -> float:  # noqa: ARG002 - the same at any
        """The rate without the factors of verdicts."""
        return self.start


def reduce_on_plateau(
    start: float,
    metric: str = "valid/loss",
    factor: float = 0.1,
    patience: int = 3,
    min: float = 0.0,  # noqa: A002 - what the config calls it
    min_delta: float = 0.0,
) -> Plateau:
    """From start, times `factor` after each `patience` evaluations without a better metric, down to `min`.

    As keras.callbacks.ReduceLROnPlateau; torch's waits for one evaluation more. A metric that is an error or a loss is
    better where it is lower, any other where it is higher.
    """
    require_number("reduce_on_plateau.start", start, 1e-30)
    require_number("reduce_on_plateau.factor", factor, 1e-6, 1.0)
    require_whole("reduce_on_plateau.patience", patience, 1)
    require_number("reduce_on_plateau.min", min, 0.0)
    require_number("reduce_on_plateau.min_delta", min_delta, 0.0)
    if not isinstance(metric, str) or not re.fullmatch(r"valid/\w+", metric):
        raise ConfigError(
            f"`reduce_on_plateau.metric` is {metric!r}",
            "it is a metric of the validation data",
            "write for example `metric: valid/loss`",
        )
    if min > start:
        raise ConfigError(
            f"`reduce_on_plateau.min` is {min:g}, its start {start:g}", "the rate goes down", "give a smaller `min`"
        )
    return Plateau(float(start), metric, float(factor), patience, float(min_delta), min / start)


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "linear": linear,
    "polynomial": polynomial,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "one_cycle": one_cycle,
    "warmup_constant": warmup_constant,
    "warmup_linear": warmup_linear,
    "warmup_cosine": warmup_cosine,
    "reduce_on_plateau": reduce_on_plateau,
}
WARMUP = "warmup_steps"


def build_schedule(spec: float | Mapping[str, Any], total_steps: int) -> Schedule:
    """The schedule that a config describes: a rate, or {"exponential": {...}}, `warmup_steps` beside it or not.

    total_steps: how many steps the job makes; the default of settings of that name. warmup_steps beside a schedule's
    name: in step s < warmup_steps the rate is (s + 1) / warmup_steps of what the schedule says. Raises ConfigError.
    """
    if not isinstance(spec, Mapping):
        require_number("learning_rate", spec, 0.0)
        return constant(spec)
    names = [key for key in spec if key != WARMUP]
    if len(names) != 1:
        raise ConfigError(
            f"{dict(spec)!r} is no schedule",
            "it is one name with its settings, and may have `warmup_steps` beside it",
            "write {constant: 0.1}",
        )
    (name,) = names
    if name not in SCHEDULES:
        raise ConfigError(
            f"unknown schedule {name!r}", f"there are: {', '.join(SCHEDULES)}", suggest_name(str(name), SCHEDULES)
        )
    schedule = SCHEDULES[name](**_arguments(name, spec[name], total_steps))
    return _warmed_up(schedule, spec[WARMUP]) if WARMUP in spec else schedule


def find_plateau(spec: float | Mapping[str, Any]) -> Plateau | None:
    """What lowers the rate, where the schedule that a config describes is `reduce_on_plateau`. Raises ConfigError."""
    if not isinstance(spec, Mapping) or "reduce_on_plateau" not in spec:
        return None
    return reduce_on_plateau(**_arguments("reduce_on_plateau", spec["reduce_on_plateau"], 1))


def _warmed_up(schedule: Schedule, steps: int) -> Schedule:
    require_whole(WARMUP, steps, 1)
    return lambda step: schedule(step) * min(1.0, (step + 1) / steps)


def _arguments(name: str, settings: Any, total_steps: int) -> dict[str, Any]:
    known = inspect.signature(SCHEDULES[name]).parameters
    if not isinstance(settings, Mapping):
        settings = {} if settings is None else {next(iter(known)): settings}
    if "total_steps" in known:
        settings = {"total_steps": max(1, total_steps), **settings}
    for key in settings:
        if key not in known:
            raise ConfigError(
                f"unknown setting {key!r} of schedule {name}",
                f"{name} has {', '.join(known)}",
                suggest_name(key, known),
            )
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in settings:
            raise ConfigError(f"schedule {name} lacks its {key}", "", f"write {{{name}: {{{key}: ...}}}}")
    return dict(settings)
