"""The judge: turns evaluations into verdicts. What it decides is a function of the metrics alone."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distprop.nn.metrics import lower_is_better
from distprop.optim.schedules import Plateau


@dataclass(frozen=True)
class Criteria:
    """What a job watches: the metric that its best version is kept by, that which stops it, that which slows it."""

    keep_best: str | None = None
    stop_metric: str | None = None
    patience: int = 0
    min_delta: float = 0.0
    plateau: Plateau | None = None


@dataclass(frozen=True)
class Opinion:
    """What a judge makes of one evaluation."""

    version: int
    metrics: Mapping[str, float]
    best: bool = False
    stop: bool = False
    factor: float = 1.0  # of the learning rate, from this version on

    def plain(self) -> dict[str, Any]:
        """As it is written into a checkpoint's manifest."""
        return asdict(self)


def judge(criteria: Criteria, history: Iterable[Opinion], version: int, metrics: Mapping[str, float]) -> Opinion:
    """The opinion on the metrics at `version`, given those before."""
    past = list(history)
    best = criteria.keep_best is not None and _improves(criteria.keep_best, past, metrics, 0.0)
    factor = _lower(criteria.plateau, past, metrics) if criteria.plateau else 1.0
    return Opinion(version, dict(metrics), best, _has_stalled(criteria, past, metrics), factor)


def watched_metrics(criteria: Criteria) -> tuple[str, ...]:
    """The metrics that choose the model or end the training, each once."""
    return tuple(dict.fromkeys(name for name in (criteria.keep_best, criteria.stop_metric) if name))


def first_unmeasured(criteria: Criteria, history: Iterable[Opinion], metrics: Mapping[str, float]) -> tuple[str, ...]:
    """The watched metrics that are NaN in `metrics`, and were a number whenever they were measured before."""
    plateau = (criteria.plateau.metric,) if criteria.plateau else ()
    watched, past = dict.fromkeys((*watched_metrics(criteria), *plateau)), list(history)
    before = {name for name in watched if any(math.isnan(opinion.metrics[name]) for opinion in past)}
    return tuple(name for name in watched if name not in before and math.isnan(metrics[name]))


def best_version(criteria: Criteria, history: Iterable[Opinion]) -> int | None:
    """The version that is kept; None where that is the last one."""
    kept = [opinion.version for opinion in history if opinion.best]
    return kept[-1] if criteria.keep_best and kept else None


def _improves(name: str, past: list[Opinion], metrics: Mapping[str, float], by: float) -> bool:
    value = _score(name, metrics)
    scores = [_score(name, opinion.metrics) for opinion in past]
    return not math.isnan(value) and all(math.isnan(score) or value > score + by for score in scores)


def _has_stalled(criteria: Criteria, past: list[Opinion], metrics: Mapping[str, float]) -> bool:
    """Whether the last `patience` evaluations, this one included, were all no better than some before them."""
    if criteria.stop_metric is None or len(past) < criteria.patience:
        return False
    everything = [opinion.metrics for opinion in past] + [metrics]
    scores = [_score(criteria.stop_metric, one) for one in everything]
    leader, since = -math.inf, 0
    for score in scores:
        better = score > leader + criteria.min_delta
        leader, since = (score, 0) if better else (leader, since + 1)
    return since >= criteria.patience


def _lower(plateau: Plateau, past: list[Opinion], metrics: Mapping[str, float]) -> float:
    """The factor that follows from this evaluation and, for how long it has been waited, from those before."""
    leader, waited, total = -math.inf, 0, 1.0
    for opinion in (*past, Opinion(-1, metrics)):
        score = _score(plateau.metric, opinion.metrics)
        better = score > leader + plateau.min_delta
        leader, waited = (score, 0) if better else (leader, waited + 1)
        if opinion.factor != 1.0:
            waited, total = 0, total * opinion.factor
    lowered = max(total * plateau.factor, plateau.floor)
    return lowered / total if waited >= plateau.patience and lowered < total else 1.0


def _score(name: str, metrics: Mapping[str, float]) -> float:
    """The metric, turned so that more is better."""
    value = metrics[name]
    return -value if lower_is_better(name.rpartition("/")[2]) else value
