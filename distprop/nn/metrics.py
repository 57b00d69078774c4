"""All metrics by name. What they keep and how they are read is said in `distprop.nn.metric`."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from distprop.errors import ConfigError
from distprop.nn.class_metrics import AVERAGES, SHARES, accuracy, log_loss, share, share_of_class, share_per_class, top
from distprop.nn.loss import Task
from distprop.nn.metric import Metric
from distprop.nn.rank_metrics import average_precision, operating_point, roc_auc
from distprop.nn.value_metrics import mae, mse, pinball, r2, r2_variance_weighted, rmse
from distprop.suggest import suggest_name

METRIC_KINDS: Mapping[str, Callable[..., Metric]] = {
    "pinball": pinball,
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "operating_point": operating_point,
}
"""Metrics that are made, some of them with settings."""
METRICS: Mapping[str, Metric] = {
    **{
        metric.name: metric for metric in (accuracy, mae, mse, rmse, r2, r2_variance_weighted, log_loss, top(3), top(5))
    },
    **{kind + average: share(kind, average) for kind in SHARES for average in AVERAGES},
    **{f"{kind}_per_class": share_per_class(kind) for kind in SHARES},
    **{name: make() for name, make in METRIC_KINDS.items()},
}
"""By name, without settings; `top_K`, `precision_K`, `recall_K` and `f1_K` are also found for any other K."""
NUMBERED: Mapping[str, Callable[[int], Metric]] = {
    "top": top,
    **{kind: partial(share_of_class, kind) for kind in SHARES},
}
"""Metrics of a number: the K of top_K, the class of recall_K."""
DEFAULTS: Mapping[Task, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "binary": ("accuracy",),
    "regression": ("mae", "rmse", "r2"),
}
LOWER_IS_BETTER = frozenset({"loss", *(metric.name for metric in METRICS.values() if not metric.higher_is_better)})


def build_metrics(
    specs: Iterable[str | Mapping[str, Any]] | None, task: Task, quantiles: tuple[float, ...] = ()
) -> tuple[Metric, ...]:
    """The metrics that a config names: "accuracy", or {"pinball": [0.1, 0.9]}; None: what suits the task.

    quantiles: those that the model's outputs stand for. Raises ConfigError.
    """
    return tuple(_build(spec, task, quantiles) for spec in (DEFAULTS[task] if specs is None else specs))


def at_threshold(
    specs: Iterable[str | Mapping[str, Any]] | None, threshold: float
) -> tuple[str | Mapping[str, Any], ...] | None:
    """The same metrics with the operating point at a threshold that was chosen before, on other rows; NaN: none was."""
    if specs is None:
        return None
    if math.isnan(threshold):
        return tuple(specs)
    names = [(spec, spec if isinstance(spec, str) else next(iter(spec))) for spec in specs]
    return tuple({name: {"threshold": threshold}} if name == "operating_point" else spec for spec, name in names)


def lower_is_better(name: str) -> bool:
    """Whether less of the metric of this name is better."""
    return name in LOWER_IS_BETTER or name.startswith("pinball_")


def _build(spec: str | Mapping[str, Any], task: Task, quantiles: tuple[float, ...]) -> Metric:
    name, settings = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    metric = _find(name, task)
    if name == "pinball" or settings is not None:
        metric = METRIC_KINDS[name](**_settings(name, settings, quantiles)) if name in METRIC_KINDS else metric
    if settings and name not in METRIC_KINDS:
        raise ConfigError(f"unknown settings {settings!r} of metric {name}", f"{name} has none", f"write `{name}`")
    return metric


def _settings(name: str, settings: Any, quantiles: tuple[float, ...]) -> Mapping[str, Any]:
    """The arguments that a metric is made with; what is no mapping is its first setting."""
    known = [key for key in inspect.signature(METRIC_KINDS[name]).parameters if key != "outputs_at"]
    given = settings if isinstance(settings, Mapping) or settings is None else {known[0] if known else name: settings}
    unknown = [key for key in given or () if key not in known]
    if unknown:
        fix = suggest_name(str(unknown[0]), known) if known else f"write `{name}`"
        raise ConfigError(
            f"unknown settings {unknown!r} of metric {name}", f"{name} has {', '.join(known) or 'none'}", fix
        )
    return {**(given or {}), **({"outputs_at": quantiles} if name == "pinball" else {})}


def _find(name: str, task: Task) -> Metric:
    """The metric of this name without settings, if it fits the task."""
    fitting = [metric.name for metric in METRICS.values() if task in metric.tasks]
    kind, _, number = name.rpartition("_")
    numbered = NUMBERED.get(kind) if number.isdecimal() and (kind != "top" or int(number)) else None
    metric = numbered(int(number)) if numbered else METRICS.get(name)
    if metric is None:
        raise ConfigError(f"unknown metric {name!r}", f"there are: {', '.join(METRICS)}", suggest_name(name, fitting))
    if task not in metric.tasks:
        raise ConfigError(
            f"metric {name} does not fit the loss", f"this is a {task} job", f"use {' or '.join(fitting)}"
        )
    return metric
