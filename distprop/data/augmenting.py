"""Augmentation: what the rows of a training leaf go through, and no others.

What a leaf becomes is a pure function of its rows and of (seed, step, shard): neither the worker nor a resume changes
it. Row i of a leaf takes the i-th run of random words, so it does not depend on how many rows come after it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop.data.moving import flipped, padded, windows
from distprop.data.noise import normal
from distprop.errors import ConfigError
from distprop.philox import bits, uniform
from distprop.suggest import suggest_name

AUGMENT = 6  # purpose of the draws

Shape = tuple[int, ...]
Values = NDArray[np.float32]
Settings = Mapping[str, Any]
Words = Callable[[int], NDArray[np.uint64]]


class Leaf(NamedTuple):
    """Which leaf: `step` is counted over the whole job, not from the beginning of an epoch."""

    seed: int
    step: int
    shard: int


class Kind(NamedTuple):
    """One kind of augmentation.

    parse: what stands in the recipe -> complete settings.  shape: a row's shape, settings -> its shape afterwards;
    both raise ValueError where it cannot be.  apply: values (N, *shape), which stay as they are, random words, settings
    -> (N, *shape').
    """

    parse: Callable[[Any], dict[str, Any]]
    shape: Callable[[Shape, Settings], Shape]
    apply: Callable[[Values, Words, Settings], Values]
    example: str


@dataclass(frozen=True)
class Augment:
    """A kind by name, with its settings."""

    kind: str
    settings: Settings


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training leaf, in order."""

    steps: tuple[Augment, ...] = ()

    @property
    def crop(self) -> Shape:
        """Sizes of the first axes after a crop, which evaluations and predictions cut out of the centre; () without."""
        return next((_crop_size(step.settings) for step in self.steps if step.kind == "crop"), ())

    def check(self, shape: Shape) -> None:
        """Raise ConfigError unless every step fits rows of `shape`."""
        for place, step in enumerate(self.steps):
            try:
                shape = AUGMENTS[step.kind].shape(shape, step.settings)
            except ValueError as error:
                what = f"data.augment[{place}] asks for {step.kind}, and a row's shape is {shape}"
                raise ConfigError(what, str(error), "change it, or leave it out") from error

    def apply(self, x: Values, leaf: Leaf) -> Values:
        """The rows x (N, *shape) of a leaf as it is trained on, (N, *shape'), contiguous; x is not written to."""
        for place, step in enumerate(self.steps):
            x = AUGMENTS[step.kind].apply(x, _stream(leaf, place), step.settings)
        return x


NO_AUGMENTATION = Augmentation()


def _stream(leaf: Leaf, place: int) -> Words:
    return lambda count: bits(leaf.seed, AUGMENT, (leaf.step, leaf.shard, place), count)


def parse_augment(spec: Sequence[Any]) -> Augmentation:
    """Read `data.augment`: a list of mappings from one name to its settings. Raises ConfigError."""
    steps = tuple(_parse_one(place, one) for place, one in enumerate(spec))
    if sum(step.kind == "crop" for step in steps) > 1:
        raise ConfigError("data.augment has two crops", "the second one would cut the first", "keep one")
    return Augmentation(steps)


def _parse_one(place: int, spec: Any) -> Augment:
    if not isinstance(spec, Mapping) or len(spec) != 1:
        why = "each augmentation is a mapping from one name to its settings"
        raise ConfigError(f"data.augment[{place}] is {spec!r}", why, "write one `- name: settings` a line")
    kind, settings = next(iter(spec.items()))
    if kind not in AUGMENTS:
        raise ConfigError(
            f"data.augment[{place}] asks for {kind!r}, which is no augmentation",
            f"augmentations are {', '.join(AUGMENTS)}",
            suggest_name(str(kind), AUGMENTS),
        )
    try:
        return Augment(kind, AUGMENTS[kind].parse(settings))
    except (TypeError, ValueError, KeyError) as error:
        fix = f"write it as `{AUGMENTS[kind].example}`"
        raise ConfigError(f"data.augment[{place}].{kind} is {settings!r}", _reason(error), fix) from error


def _reason(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _take(spec: Any, first: str, **defaults: Any) -> dict[str, Any]:
    """Settings with their defaults; what is no mapping is the setting `first`."""
    given = dict(spec) if isinstance(spec, Mapping) else {first: spec}
    unknown = [key for key in given if key not in (first, *defaults)]
    if unknown:
        raise ValueError(f"it has no setting {unknown[0]!r}")
    return {first: given[first], **defaults, **given}


def _number(value: Any, low: float, high: float = np.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value <= high:
        raise ValueError(f"it takes a number above {low:g}" + ("" if high == np.inf else f", at most {high:g}"))
    return float(value)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("sizes are whole numbers, 1 or more")
    return value


def _same_shape(shape: Shape, _: Settings) -> Shape:
    return shape


def _places(shape: Shape) -> Shape:
    """The axes that rows can be moved along: (H, W) of (H, W, C), (L,) of (L, C). Raises ValueError."""
    if len(shape) not in (2, 3):
        raise ValueError("only one column of images (height, width, channels) or sequences (length, channels) moves")
    return shape[:-1]


def _parse_flip(spec: Any) -> dict[str, Any]:
    settings = _take(spec, "axis", probability=0.5)
    if settings["axis"] not in ("horizontal", "vertical"):
        raise ValueError("it is horizontal or vertical")
    return settings | {"probability": _number(settings["probability"], 0.0, 1.0)}


def _flip_shape(shape: Shape, _: Settings) -> Shape:
    if len(_places(shape)) < 2:
        raise ValueError("only images (height, width, channels) can be flipped; two axes are a sequence with channels")
    return shape


def _flip(x: Values, words: Words, settings: Settings) -> Values:
    chosen = uniform(words(len(x))) < settings["probability"]
    return flipped(x, 2 if settings["axis"] == "horizontal" else 1, chosen)


def _parse_shift(spec: Any) -> dict[str, Any]:
    settings = _take(spec, "pixels", fill="zero")
    if settings["fill"] not in ("zero", "edge"):
        raise ValueError("fill is zero or edge")
    return settings | {"pixels": _size(settings["pixels"])}


def _shift_shape(shape: Shape, settings: Settings) -> Shape:
    if settings["pixels"] >= min(_places(shape)):
        raise ValueError(f"moved by {settings['pixels']}, nothing of some rows would be left")
    return shape


def _shift(x: Values, words: Words, settings: Settings) -> Values:
    reach, sizes = settings["pixels"], x.shape[1:-1]
    return windows(padded(x, reach, settings["fill"]), _offsets(words, len(x), [2 * reach] * len(sizes)), sizes)


def _parse_crop(spec: Any) -> dict[str, Any]:
    if not isinstance(spec, Mapping):
        raise ValueError("it takes the height and the width of images, or the length of sequences")
    names = ("length",) if "length" in spec else ("height", "width")
    unknown = [key for key in spec if key not in names]
    if unknown:
        raise ValueError(f"it has no setting {unknown[0]!r}" + (" beside length" if "length" in spec else ""))
    return {name: _size(spec[name]) for name in names}


def _crop_size(settings: Settings) -> Shape:
    return tuple(settings[name] for name in ("length", "height", "width") if name in settings)


def _crop_shape(shape: Shape, settings: Settings) -> Shape:
    places, size = _places(shape), _crop_size(settings)
    if len(size) != len(places):
        raise ValueError("images (three axes) are cropped to a height and a width, sequences (two) to a length")
    if any(wanted > there for wanted, there in zip(size, places, strict=True)):
        raise ValueError(f"a crop of {size} is larger than what it is cut from")
    return (*size, shape[-1])


def _crop(x: Values, words: Words, settings: Settings) -> Values:
    size = _crop_size(settings)
    spare = [there - wanted for there, wanted in zip(x.shape[1:-1], size, strict=True)]
    return windows(x, _offsets(words, len(x), spare), size)


def _offsets(words: Words, rows: int, spare: Sequence[int]) -> NDArray[np.intp]:
    """For every row and axis a whole number from 0 to `spare` of the axis, all alike likely to 2^-32; (rows, axes)."""
    high = (words(rows * len(spare)) >> np.uint64(32)).reshape(rows, len(spare))
    return ((high * (np.array(spare, dtype=np.uint64) + np.uint64(1))) >> np.uint64(32)).astype(np.intp)


def _noise(x: Values, words: Words, settings: Settings) -> Values:
    width = x[:1].size
    per_row = -(-width // 4)  # four values come of a word
    out = normal(words(len(x) * per_row)).reshape(len(x), 4 * per_row)[:, :width].reshape(x.shape)
    out *= np.float32(settings["sigma"])
    out += x
    return out


def _amplitude(x: Values, words: Words, settings: Settings) -> Values:
    factors = 1.0 + settings["share"] * (2.0 * uniform(words(len(x))) - 1.0)
    made: Values = np.multiply(x, factors.astype(np.float32).reshape(-1, *[1] * (x.ndim - 1)))
    return made


AUGMENTS: dict[str, Kind] = {
    "flip": Kind(_parse_flip, _flip_shape, _flip, "flip: horizontal"),
    "shift": Kind(_parse_shift, _shift_shape, _shift, "shift: 2"),
    "crop": Kind(_parse_crop, _crop_shape, _crop, "crop: {height: 24, width: 24}"),
    "noise": Kind(
        lambda spec: {"sigma": _number(_take(spec, "sigma")["sigma"], 0.0)}, _same_shape, _noise, "noise: 0.1"
    ),
    "amplitude": Kind(
        lambda spec: {"share": _number(_take(spec, "share")["share"], 0.0, 1.0)},
        _same_shape,
        _amplitude,
        "amplitude: 0.1",
    ),
}
