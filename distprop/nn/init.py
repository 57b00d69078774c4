"""Initial weights: pure functions of the seed and of the parameter's place in the network."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop import philox
from distprop.errors import ConfigError
from distprop.nn.arrays import BLOCK, Array, Shape
from distprop.nn.settings import require_number
from distprop.suggest import suggest_name

WEIGHTS = 1  # the purpose of these random words, see philox.bits


@dataclass(frozen=True)
class Draw:
    """Random values for one parameter: number `parameter` of layer `layer`, in a network made from `seed`.

    rectified: an activation that cuts off about half of its inputs follows.
    """

    seed: int
    layer: int
    parameter: int
    rectified: bool

    def words(self, piece: int, count: int) -> NDArray[np.uint64]:
        """`count` random 64-bit words (count,); each piece has its own."""
        return philox.bits(self.seed, WEIGHTS, (self.layer, self.parameter, piece), count)


Initializer = Callable[[Array, Draw], None]
"""Fills a view in place."""


def normal(deviation: float) -> Initializer:
    """Normal values of mean 0, by the transform of Box & Muller (1958), in float64 before they are stored."""

    def values(draw: Draw, piece: int, count: int) -> NDArray[np.float64]:
        half = (count + 1) // 2
        u = philox.uniform(draw.words(piece, 2 * half)).reshape(2, half)
        radius = np.sqrt(-2.0 * np.log1p(-u[0]))  # 1 - u lies in (0, 1]: the logarithm is finite
        angle = 2.0 * math.pi * u[1]
        pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        return np.asarray(deviation * pairs[:count])

    return _in_pieces(values)


def uniform(limit: float) -> Initializer:
    """Uniform values in [-limit, limit)."""

    def values(draw: Draw, piece: int, count: int) -> NDArray[np.float64]:
        return (2.0 * philox.uniform(draw.words(piece, count)) - 1.0) * limit

    return _in_pieces(values)


def _in_pieces(values: Callable[[Draw, int, int], NDArray[np.float64]]) -> Initializer:
    """Fill a view piece by piece, so that a large one needs little memory beside it."""

    def fill(view: Array, draw: Draw) -> None:
        flat = view.reshape(-1)
        assert np.shares_memory(flat, view), "views of an arena are contiguous"
        for piece, start in enumerate(range(0, flat.size, BLOCK)):
            run = flat[start : start + BLOCK]
            run[...] = values(draw, piece, run.size)

    return fill


def fans(shape: Shape) -> tuple[int, int]:
    """How many inputs a unit sees and how many outputs an input reaches, for weights (..., inputs, outputs)."""
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def he_normal(view: Array, draw: Draw) -> None:
    """Normal of variance 2 / inputs (He et al. 2015, arXiv:1502.01852): for relu and its kin."""
    normal(math.sqrt(2.0 / fans(view.shape)[0]))(view, draw)


def he_uniform(view: Array, draw: Draw) -> None:
    """Uniform of variance 2 / inputs (He et al. 2015, arXiv:1502.01852)."""
    uniform(math.sqrt(6.0 / fans(view.shape)[0]))(view, draw)


def glorot_normal(view: Array, draw: Draw) -> None:
    """Normal of variance 2 / (inputs + outputs) (Glorot & Bengio 2010, AISTATS)."""
    normal(math.sqrt(2.0 / sum(fans(view.shape))))(view, draw)


def glorot_uniform(view: Array, draw: Draw) -> None:
    """Uniform of variance 2 / (inputs + outputs) (Glorot & Bengio 2010, AISTATS)."""
    uniform(math.sqrt(6.0 / sum(fans(view.shape))))(view, draw)


def lecun_normal(view: Array, draw: Draw) -> None:
    """Normal of variance 1 / inputs (LeCun et al. 1998, "Efficient BackProp")."""
    normal(math.sqrt(1.0 / fans(view.shape)[0]))(view, draw)


def lecun_uniform(view: Array, draw: Draw) -> None:
    """Uniform of variance 1 / inputs (LeCun et al. 1998, "Efficient BackProp")."""
    uniform(math.sqrt(3.0 / fans(view.shape)[0]))(view, draw)


def zeros(view: Array, draw: Draw) -> None:  # noqa: ARG001 - one form for all
    """All zero: for biases; weights that start so never learn apart."""
    view[...] = 0.0


def orthogonal(gain: float = 1.0) -> Initializer:
    """Gain times orthonormal columns, or rows where there are fewer (Saxe et al. 2014, arXiv:1312.6120).

    Weights (..., inputs, outputs) count as a matrix (... inputs, outputs). It is the Q of a normal matrix's QR, with
    signs that make it uniform among all such (Mezzadri 2007, arXiv:math-ph/0609050): LAPACK's work, in float64, whose
    bits the BLAS kernel fixes.
    """
    require_number("orthogonal.gain", gain, 0.0)

    def fill(view: Array, draw: Draw) -> None:
        rows, columns = math.prod(view.shape[:-1]), view.shape[-1]
        longer, shorter = max(rows, columns), min(rows, columns)
        drawn = np.empty(longer * shorter)
        normal(1.0)(drawn, draw)
        q, r = np.linalg.qr(drawn.reshape(longer, shorter))
        q *= np.where(np.diagonal(r) < 0.0, -gain, gain)
        view[...] = (q if rows >= columns else q.T).reshape(view.shape)

    return fill


def constant(value: float) -> Initializer:
    """The same value everywhere: for biases; weights that start so never learn apart."""
    require_number("constant.value", value, -math.inf)

    def fill(view: Array, draw: Draw) -> None:  # noqa: ARG001 - one form for all
        view[...] = value

    return fill


def _normal(stddev: float) -> Initializer:
    """Normal of mean 0 and this standard deviation."""
    require_number("normal.stddev", stddev, 0.0)
    return normal(stddev)


def _uniform(limit: float) -> Initializer:
    """Uniform in [-limit, limit)."""
    require_number("uniform.limit", limit, 0.0)
    return uniform(limit)


INITIALIZERS: Mapping[str, Initializer] = {
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "zeros": zeros,
}


WITH_SETTINGS: Mapping[str, Callable[..., Initializer]] = {
    "orthogonal": orthogonal,
    "normal": _normal,
    "uniform": _uniform,
    "constant": constant,
}

InitSpec = str | Mapping[str, Any]
"""An initializer as a config names it: "he_normal", or {"normal": {"stddev": 0.02}}."""


def default_weights(view: Array, draw: Draw) -> None:
    """he_normal where a rectifying activation follows, else glorot_uniform."""
    (he_normal if draw.rectified else glorot_uniform)(view, draw)


def find_initializer(spec: InitSpec | None) -> Initializer:
    """The initializer that a config describes; None is `default_weights`. Raises ConfigError."""
    if spec is None:
        return default_weights
    if isinstance(spec, Mapping) and len(spec) != 1:
        raise ConfigError(
            f"{dict(spec)!r} is no initializer", "it is one name with its settings", "write {normal: {stddev: 0.02}}"
        )
    name, settings = next(iter(spec.items())) if isinstance(spec, Mapping) else (spec, None)
    if name in INITIALIZERS and settings is None:
        return INITIALIZERS[name]
    if name in INITIALIZERS:
        raise ConfigError(f"initializer {name} has no settings", f"{settings!r} is given", f"write `init: {name}`")
    if name not in WITH_SETTINGS:
        known = [*INITIALIZERS, *WITH_SETTINGS]
        raise ConfigError(
            f"unknown initializer {name!r}", f"there are: {', '.join(known)}", suggest_name(str(name), known)
        )
    return WITH_SETTINGS[name](**_settings(name, settings))


def _settings(name: str, settings: Any) -> dict[str, Any]:
    """The settings as a mapping; what is no mapping is the first of them."""
    known = inspect.signature(WITH_SETTINGS[name]).parameters
    first, parameter = next(iter(known.items()))
    if not isinstance(settings, Mapping):
        settings = {} if settings is None else {first: settings}
    for key in settings:
        if key not in known:
            raise ConfigError(
                f"unknown setting {key!r} of initializer {name}",
                f"{name} has {', '.join(known)}",
                suggest_name(str(key), known),
            )
    if parameter.default is parameter.empty and first not in settings:
        raise ConfigError(f"initializer {name} lacks its {first}", "", f"write {{{name}: {{{first}: ...}}}}")
    return dict(settings)
