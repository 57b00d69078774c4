"""Optimizers: chains of transforms with a schedule, by the name that a config has for them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from distprop.errors import ConfigError
from distprop.optim.optimizer import Chain, Optimizer, Trust, finite_ratio
from distprop.optim.schedules import build_schedule, find_plateau
from distprop.optim.settings import require_number, require_whole
from distprop.optim.transforms import (
    Transform,
    accumulate,
    add_weight_decay,
    clip_values,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_lion,
    scale_by_momentum,
    scale_by_rate,
    scale_by_rms,
    scale_by_trust,
)
from distprop.suggest import suggest_name


class Halves(NamedTuple):
    """The chains of an optimizer: before norms are taken and after, and what it makes of a layer's norms."""

    after: Chain
    before: Chain = ()
    trust: Trust | None = None


@dataclass(frozen=True)
class Extras:
    """What a config may have beside an optimizer, whichever it is.

    clip_norm: the longest gradient, all parameters together.  clip_value: the largest value of a gradient, done first.
    decay_exclude, rates: patterns of parameters' names, see `group_views`.  average: the decay of the weights' moving
    average.  accumulate: steps whose gradients make one update.
    """

    clip_norm: float | None = None
    clip_value: float | None = None
    decay_exclude: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    average: float | None = None
    accumulate: int = 1


def sgd(momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Halves:
    """Stochastic gradient descent, plain or with momentum; weight decay as a penalty. As torch.optim.SGD."""
    require_number("sgd.momentum", momentum, 0.0, 1.0)
    require_number("sgd.weight_decay", weight_decay, 0.0)
    if nesterov and not momentum:
        raise ConfigError("`sgd.nesterov` is set without momentum", "it changes the momentum", "set `momentum: 0.9`")
    chain = _decay(weight_decay)
    return _plain(*chain, *_momentum(momentum, nesterov))


def adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0) -> Halves:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980); weight decay as a penalty. As torch.optim.Adam."""
    _require_adam("adam", b1, b2, eps, weight_decay)
    return _plain(*_decay(weight_decay), scale_by_adam(b1, b2, eps))


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01) -> Halves:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101). As torch.optim.AdamW."""
    _require_adam("adamw", b1, b2, eps, weight_decay)
    return _plain(scale_by_adam(b1, b2, eps), *_decay(weight_decay))


def rmsprop(alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, weight_decay: float = 0.0) -> Halves:
    """RMSProp (Tieleman & Hinton 2012), with momentum or without; decay as a penalty. As torch.optim.RMSprop."""
    require_number("rmsprop.alpha", alpha, 0.0, 1.0)
    require_number("rmsprop.eps", eps, 1e-16)
    require_number("rmsprop.momentum", momentum, 0.0, 1.0)
    require_number("rmsprop.weight_decay", weight_decay, 0.0)
    chain = (*_decay(weight_decay), scale_by_rms(alpha, eps))
    return _plain(*chain, *_momentum(momentum))


def adagrad(eps: float = 1e-10, weight_decay: float = 0.0) -> Halves:
    """Adagrad (Duchi et al. 2011, JMLR); weight decay as a penalty. As torch.optim.Adagrad."""
    require_number("adagrad.eps", eps, 1e-16)
    require_number("adagrad.weight_decay", weight_decay, 0.0)
    return _plain(*_decay(weight_decay), scale_by_adagrad(eps))


def lion(b1: float = 0.9, b2: float = 0.99, weight_decay: float = 0.0) -> Halves:
    """Lion (Chen et al. 2023, arXiv:2302.06675): steps of one size, with decoupled weight decay."""
    require_number("lion.b1", b1, 0.0, 1.0)
    require_number("lion.b2", b2, 0.0, 1.0)
    require_number("lion.weight_decay", weight_decay, 0.0)
    return _plain(scale_by_lion(b1, b2), *_decay(weight_decay))


def lars(momentum: float = 0.9, weight_decay: float = 1e-4, coefficient: float = 1e-3) -> Halves:
    """SGD with momentum and a rate for each layer: coefficient |w| / (|g| + weight_decay |w|) times the rate.

    Source: You et al. 2017, arXiv:1708.03888, algorithm 1. As in its authors' code a layer whose weights or gradient
    are all 0, or which `decay_exclude` names, has the plain rate.
    """
    require_number("lars.momentum", momentum, 0.0, 1.0)
    require_number("lars.weight_decay", weight_decay, 0.0)
    require_number("lars.coefficient", coefficient, 1e-12)

    def trust(g: float, w: float) -> float:
        return coefficient * finite_ratio(w, g + weight_decay * w) if g > 0.0 and w > 0.0 else 1.0

    chain = (*_decay(weight_decay), scale_by_trust(), scale_by_rate(), *_momentum(momentum))
    return Halves(chain, trust=trust)


def lamb(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6, weight_decay: float = 0.01) -> Halves:
    """AdamW with a rate for each layer: |w| / |u| times the rate, u being Adam's direction with the decay.

    Source: You et al. 2020, arXiv:1904.00962, algorithm 2, with phi(z) = z. As in its authors' code a layer whose
    weights or update are all 0, or which `decay_exclude` names, has the plain rate.
    """
    _require_adam("lamb", b1, b2, eps, weight_decay)
    before = (scale_by_adam(b1, b2, eps), *_decay(weight_decay))
    return Halves((scale_by_trust(), scale_by_rate()), before, lambda u, w: finite_ratio(w, u))


OPTIMIZERS: Mapping[str, Callable[..., Halves]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "lion": lion,
    "lars": lars,
    "lamb": lamb,
}
RATES: Mapping[str, float] = {  # where a config gives none
    "sgd": 0.01,
    "adam": 0.001,
    "adamw": 0.001,
    "rmsprop": 0.01,
    "adagrad": 0.01,
    "lion": 0.0001,
    "lars": 1.0,
    "lamb": 0.001,
}


def build_optimizer(
    name: str, settings: Mapping[str, Any] | None, extras: Extras | None, total_steps: int
) -> Optimizer:
    """The optimizer that a config describes: its settings, with `learning_rate` (a rate or a schedule) among them.

    total_steps: how many steps the job makes; schedules end there. Raises ConfigError.
    """
    extras, arguments = extras or Extras(), dict(settings or {})
    known = _known(name, arguments)
    rate = arguments.pop("learning_rate", RATES[name])
    halves = OPTIMIZERS[name](**arguments)
    _require_extras(name, extras, arguments.get("weight_decay", known.get("weight_decay")))
    before = (accumulate(extras.accumulate),) if extras.accumulate > 1 else ()
    clip = (clip_values(extras.clip_value),) if extras.clip_value is not None else ()
    return Optimizer(
        transforms=halves.after,
        schedule=build_schedule(rate, total_steps),
        clip_norm=extras.clip_norm,
        before=(*before, *clip, *halves.before),
        trust=halves.trust,
        accumulate=extras.accumulate,
        average=extras.average,
        plateau=find_plateau(rate),
    )


def _known(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that an optimizer has, with their defaults. Raises ConfigError where others are given."""
    if name not in OPTIMIZERS:
        raise ConfigError(
            f"unknown optimizer {name!r}", f"there are: {', '.join(OPTIMIZERS)}", suggest_name(name, OPTIMIZERS)
        )
    parameters = inspect.signature(OPTIMIZERS[name]).parameters
    known = {key: parameter.default for key, parameter in parameters.items()} | {"learning_rate": RATES[name]}
    for key in arguments:
        if key not in known:
            raise ConfigError(
                f"unknown setting {key!r} of optimizer {name}",
                f"{name} has {', '.join(known)}",
                suggest_name(key, known),
            )
    return known


def _require_extras(name: str, extras: Extras, weight_decay: float | None) -> None:
    for key, value in (("clip_norm", extras.clip_norm), ("clip_value", extras.clip_value)):
        if value is not None:
            require_number(key, value, 1e-12)
    if extras.average is not None:
        require_number("average", extras.average, 0.0, 1.0)
    require_whole("accumulate", extras.accumulate, 1)
    if extras.clip_norm is not None and name == "lamb":
        raise ConfigError(
            "`optimizer.clip_norm` does not go with lamb",
            "lamb's layers have updates of a length of their own, whatever the gradient's; clipping would hardly count",
            "leave it out, or set `clip_value`",
        )
    if extras.decay_exclude and not weight_decay:
        raise ConfigError(
            "`optimizer.decay_exclude` excludes from nothing",
            f"this {name} has no weight decay",
            f"set `{name}.weight_decay`, or leave `decay_exclude` out",
        )


def _plain(*chain: Transform) -> Halves:
    return Halves((*chain, scale_by_rate()))


def _momentum(momentum: float, nesterov: bool = False) -> Chain:
    return (scale_by_momentum(momentum, nesterov),) if momentum else ()


def _decay(weight_decay: float) -> Chain:
    return (add_weight_decay(weight_decay),) if weight_decay else ()


def _require_adam(name: str, b1: float, b2: float, eps: float, weight_decay: float) -> None:
    require_number(f"{name}.b1", b1, 0.0, 1.0)
    require_number(f"{name}.b2", b2, 0.0, 1.0)
    require_number(f"{name}.eps", eps, 1e-16)
    require_number(f"{name}.weight_decay", weight_decay, 0.0)
