"""Optimizers: chains of transforms with a schedule, by the name that a config has for them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distprop.errors import ConfigError
from distprop.optim.schedules import Schedule, build_schedule
from distprop.optim.settings import require_number
from distprop.optim.transforms import (
    Moment,
    Run,
    State,
    Transform,
    add_weight_decay,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_lion,
    scale_by_momentum,
    scale_by_rate,
    scale_by_rms,
)
from distprop.optim.vectors import RUN, Array
from distprop.suggest import suggest_name

Chain = tuple[Transform, ...]


@dataclass(frozen=True)
class Optimizer:
    """Turns a version of weights and state into the next one. Holds no numbers of its own.

    clip_norm: the longest gradient, all parameters together; whoever has the whole gradient scales it before `update`.
    """

    transforms: Chain
    schedule: Schedule
    clip_norm: float | None = None

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the state's vectors, each as long as the weights; all start at 0."""
        return tuple(name for transform in self.transforms for name in transform.state)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, without the factors of verdicts."""
        return self.schedule(step)

    def update(self, w: Array, g: Array, old: State, w_out: Array, new: State, at: Moment) -> None:
        """Write the next version of n weights into w_out and of their state into new.

        w, g, w_out and each of old and new: contiguous (n,), of one dtype. w and old are only read; g (the mean
        gradient) is used up. w_out and new share no memory with the rest. Pure, and elementwise: a vector can be
        updated in slices, in any order and by several threads, with the same bits.
        """
        with np.errstate(all="ignore"):  # what is not finite is seen in the loss
            for start in range(0, w.size, RUN):
                self._update_run(slice(start, start + RUN), w, g, old, w_out, new, at)

    def _update_run(self, run: slice, w: Array, g: Array, old: State, w_out: Array, new: State, at: Moment) -> None:
        u, weights, out = g[run], w[run], w_out[run]
        old_run = {name: old[name][run] for name in self.state_names}
        new_run = {name: new[name][run] for name in self.state_names}
        for transform in self.transforms:
            transform.apply(Run(u, weights, old_run, new_run, scratch=out), at)
        np.subtract(weights, u, out=out)


def sgd(momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Chain:
    """Stochastic gradient descent, plain or with momentum; weight decay as a penalty. As torch.optim.SGD."""
    require_number("sgd.momentum", momentum, 0.0, 1.0)
    require_number("sgd.weight_decay", weight_decay, 0.0)
    if nesterov and not momentum:
        raise ConfigError("`sgd.nesterov` is set without momentum", "it changes the momentum", "set `momentum: 0.9`")
    chain = _decay(weight_decay)
    return (*chain, scale_by_momentum(momentum, nesterov)) if momentum else chain


def adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0) -> Chain:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980); weight decay as a penalty. As torch.optim.Adam."""
    _require_adam("adam", b1, b2, eps, weight_decay)
    return (*_decay(weight_decay), scale_by_adam(b1, b2, eps))


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01) -> Chain:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101). As torch.optim.AdamW."""
    _require_adam("adamw", b1, b2, eps, weight_decay)
    return (scale_by_adam(b1, b2, eps), *_decay(weight_decay))


def rmsprop(alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, weight_decay: float = 0.0) -> Chain:
    """RMSProp (Tieleman & Hinton 2012), with momentum or without; decay as a penalty. As torch.optim.RMSprop."""
    require_number("rmsprop.alpha", alpha, 0.0, 1.0)
    require_number("rmsprop.eps", eps, 1e-16)
    require_number("rmsprop.momentum", momentum, 0.0, 1.0)
    require_number("rmsprop.weight_decay", weight_decay, 0.0)
    chain = (*_decay(weight_decay), scale_by_rms(alpha, eps))
    return (*chain, scale_by_momentum(momentum)) if momentum else chain


def adagrad(eps: float = 1e-10, weight_decay: float = 0.0) -> Chain:
    """Adagrad (Duchi et al. 2011, JMLR); weight decay as a penalty. As torch.optim.Adagrad."""
    require_number("adagrad.eps", eps, 1e-16)
    require_number("adagrad.weight_decay", weight_decay, 0.0)
    return (*_decay(weight_decay), scale_by_adagrad(eps))


def lion(b1: float = 0.9, b2: float = 0.99, weight_decay: float = 0.0) -> Chain:
    """Lion (Chen et al. 2023, arXiv:2302.06675): steps of one size, with decoupled weight decay."""
    require_number("lion.b1", b1, 0.0, 1.0)
    require_number("lion.b2", b2, 0.0, 1.0)
    require_number("lion.weight_decay", weight_decay, 0.0)
    return (scale_by_lion(b1, b2), *_decay(weight_decay))


OPTIMIZERS: Mapping[str, Callable[..., Chain]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "lion": lion,
}
RATES: Mapping[str, float] = {  # where a config gives none
    "sgd": 0.01,
    "adam": 0.001,
    "adamw": 0.001,
    "rmsprop": 0.01,
    "adagrad": 0.01,
    "lion": 0.0001,
}


def build_optimizer(
    name: str, settings: Mapping[str, Any] | None, clip_norm: float | None, total_steps: int
) -> Optimizer:
    """The optimizer that a config describes: its settings, with `learning_rate` (a rate or a schedule) among them.

    total_steps: how many updates the job makes; schedules end there. Raises ConfigError.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(
            f"unknown optimizer {name!r}", f"there are: {', '.join(OPTIMIZERS)}", suggest_name(name, OPTIMIZERS)
        )
    arguments = dict(settings or {})
    rate = arguments.pop("learning_rate", RATES[name])
    known = [*inspect.signature(OPTIMIZERS[name]).parameters, "learning_rate"]
    for key in arguments:
        if key not in known:
            raise ConfigError(
                f"unknown setting {key!r} of optimizer {name}",
                f"{name} has {', '.join(known)}",
                suggest_name(key, known),
            )
    if clip_norm is not None:
        require_number("clip_norm", clip_norm, 1e-12)
    chain = (*OPTIMIZERS[name](**arguments), scale_by_rate())
    return Optimizer(chain, build_schedule(rate, total_steps), clip_norm)


def _decay(weight_decay: float) -> Chain:
    return (add_weight_decay(weight_decay),) if weight_decay else ()


def _require_adam(name: str, b1: float, b2: float, eps: float, weight_decay: float) -> None:
    require_number(f"{name}.b1", b1, 0.0, 1.0)
    require_number(f"{name}.b2", b2, 0.0, 1.0)
    require_number(f"{name}.eps", eps, 1e-16)
    require_number(f"{name}.weight_decay", weight_decay, 0.0)
