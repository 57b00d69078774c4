"""All losses by name. What their values are sums of is said in `distprop.nn.loss`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distprop.errors import ConfigError
from distprop.nn.class_losses import binary_cross_entropy, softmax_cross_entropy
from distprop.nn.loss import Loss
from distprop.nn.value_losses import gaussian, huber, mean_absolute_error, mean_squared_error, pinball, poisson
from distprop.suggest import suggest_name

__all__ = ["LOSSES", "LOSS_KINDS", "Loss", "build_loss"]

LOSS_KINDS: Mapping[str, Callable[..., Loss]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "mean_squared_error": mean_squared_error,
    "binary_cross_entropy": binary_cross_entropy,
    "mean_absolute_error": mean_absolute_error,
    "huber": huber,
    "pinball": pinball,
    "poisson": poisson,
    "gaussian": gaussian,
}
LOSSES: Mapping[str, Loss] = {name: make() for name, make in LOSS_KINDS.items()}
"""Each loss as it is without settings."""

ELSEWHERE: Mapping[str, str] = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_cross_entropy",
    "cross_entropy": "softmax_cross_entropy",
}
"""What other libraries call some of them. Here a loss has one name: it is part of the recipe."""


def build_loss(spec: str | Mapping[str, Any]) -> Loss:
    """The loss that a config names: "huber", {"huber": 0.5} or {"huber": {"delta": 0.5}}. Raises ConfigError."""
    name, settings = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    if name not in LOSSES:
        fix = suggest_name(ELSEWHERE.get(name, name), LOSSES)
        raise ConfigError(f"unknown loss {name!r}", f"there are: {', '.join(LOSSES)}", fix)
    if settings is None or settings == {}:
        return LOSSES[name]
    known = list(inspect.signature(LOSS_KINDS[name]).parameters)
    if not isinstance(settings, Mapping) and known:
        settings = {known[0]: settings}
    unknown = [key for key in settings if key not in known] if isinstance(settings, Mapping) else [settings]
    if unknown:
        has = ", ".join(known) or "none"
        fix = suggest_name(str(unknown[0]), known) if known else f"write `loss: {name}`"
        raise ConfigError(f"unknown settings {unknown!r} of loss {name}", f"{name} has {has}", fix)
    return LOSS_KINDS[name](**settings)
