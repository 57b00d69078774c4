"""Windows that slide over images: where they lie, and the padding that they need."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from distprop.errors import ConfigError, ShapeError
from distprop.nn.arrays import Array, Shape
from distprop.nn.layer import Context
from distprop.nn.settings import require_whole

Pair = tuple[int, int]


class Axis(NamedTuple):
    """A window along one axis of `length` values: out places, `before` and `after` values of padding."""

    length: int
    out: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def padded(self) -> int:
        """Values with padding."""
        return self.before + self.length + self.after

    @property
    def covered(self) -> int:
        """Values under windows that lie side by side."""
        return self.out * self.kernel

    def at(self, tap: int) -> slice:
        """Which padded values lie under this tap of the window, place by place."""
        start = tap * self.dilation
        return slice(start, start + (self.out - 1) * self.stride + 1, self.stride)

    @property
    def centre(self) -> int | None:
        """The tap that lies on every value once, place by place; None where no tap does."""
        tap, rest = divmod(self.before, self.dilation)
        return tap if self.stride == 1 and self.out == self.length and not rest and tap < self.kernel else None

    @property
    def others(self) -> Iterator[tuple[int, slice, slice]]:
        """The other taps: each with the places where it lies on a value, and these values, without padding."""
        for tap in range(self.kernel):
            first, end = self.inside(tap)
            if tap != self.centre and first < end:
                start = first * self.stride + tap * self.dilation - self.before
                yield tap, slice(first, end), slice(start, start + (end - first - 1) * self.stride + 1, self.stride)

    def inside(self, tap: int) -> tuple[int, int]:
        """The first place whose value under this tap is no padding, and one past the last."""
        shift = tap * self.dilation - self.before
        first, last = math.ceil(-shift / self.stride), (self.length - 1 - shift) // self.stride
        return max(0, first), max(0, min(self.out, last + 1))


@dataclass(frozen=True)
class Window:
    """A window over images (N, H, W, C)."""

    down: Axis
    across: Axis

    @property
    def output(self) -> Pair:
        """Height and width of what comes out."""
        return self.down.out, self.across.out

    @property
    def sliding(self) -> tuple[Pair, Pair, Pair, Pair]:
        """Kernel, stride, dilation and padding before, each down and across."""
        down, across = self.down, self.across
        return (
            (down.kernel, across.kernel),
            (down.stride, across.stride),
            (down.dilation, across.dilation),
            (down.before, across.before),
        )

    @property
    def taps(self) -> list[Pair]:
        """The window's places (i, j), row by row."""
        return [(i, j) for i in range(self.down.kernel) for j in range(self.across.kernel)]

    @property
    def pads(self) -> bool:
        """Whether there is padding."""
        return any((self.down.before, self.down.after, self.across.before, self.across.after))

    @property
    def tiles(self) -> bool:
        """Whether windows lie side by side, without padding."""
        return not self.pads and all(axis.stride == axis.kernel for axis in (self.down, self.across))

    def padded_shape(self, x: Array) -> Shape:
        """The shape of x (N, H, W, C) with padding."""
        return len(x), self.down.padded, self.across.padded, x.shape[3]

    def pad(self, x: Array, ctx: Context, value: float = 0.0) -> Array:
        """Give x with its padding, in memory that the next layer will use, too; x itself where there is none."""
        if not self.pads:
            return x
        padded = ctx.shared("padded", self.padded_shape(x))
        down, across = self.down, self.across
        padded[:, : down.before] = value
        padded[:, down.before + down.length :] = value
        padded[:, :, : across.before] = value
        padded[:, :, across.before + across.length :] = value
        self.interior(padded)[...] = x
        return padded

    def interior(self, padded: Array) -> Array:
        """The view of padded images that is no padding."""
        down, across = self.down, self.across
        return padded[:, down.before : down.before + down.length, across.before : across.before + across.length]

    def tap(self, padded: Array, at: Pair) -> Array:
        """The view (N, out, out, C) of what lies under tap (i, j) at each place."""
        return padded[:, self.down.at(at[0]), self.across.at(at[1])]


class Settings(NamedTuple):
    """How a layer's window is set: a pair for each, and the padding as a config says it."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: str | int
    flat: bool = False
    """Whether images are sequences: of height 1, which is not padded."""

    def window(self, shape: Shape) -> Window:
        """The window over images of `shape` (H, W, C). Raises ShapeError where not even one fits."""
        paddings = "valid" if self.flat else self.padding, self.padding
        axes = [_axis(shape[k], self.kernel[k], self.stride[k], self.dilation[k], paddings[k]) for k in (0, 1)]
        if min(axis.out for axis in axes) < 1:
            raise ShapeError(
                f"rows of shape {shape} are smaller than its window",
                f"the window covers {self.kernel} values {self.dilation} apart, padding is {self.padding}",
                "pad (`padding: same`), or use a smaller kernel or fewer pools before it",
            )
        return Window(*axes)


def _axis(length: int, kernel: int, stride: int, dilation: int, padding: str | int) -> Axis:
    covered = (kernel - 1) * dilation + 1
    if padding == "same":
        total = max(0, (-(-length // stride) - 1) * stride + covered - length)
        before, after = total // 2, total - total // 2
    else:
        before = after = 0 if padding == "valid" else int(padding)
    out = (before + length + after - covered) // stride + 1
    return Axis(length, out, kernel, stride, dilation, before, after)


def pair(name: str, value: Any, flat: bool) -> Pair:
    """A setting for both axes: a whole number, or [down, across]; flat: for (1, T), one number alone."""
    if flat:
        require_whole(name, value)
        return 1, value
    if not isinstance(value, list | tuple):
        value = [value, value]
    if len(value) != 2:
        raise ConfigError(f"`{name}` is {value!r}", "images have two axes", f"write {name}: [3, 3], or one number")
    for one in value:
        require_whole(name, one)
    return value[0], value[1]


def require_padding(name: str, value: Any, kernel: Sequence[int], dilation: Sequence[int]) -> None:
    """Raise ConfigError unless value is "same", "valid" or a number of values to add on each side.

    kernel, dilation: along the axes that are padded. Each window then has a value in it that is no padding.
    """
    if value in ("same", "valid") and isinstance(value, str):
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(
            f"`{name}` is {value!r}", "it is same, valid, or a number of values on each side", f"write {name}: same"
        )
    if any(value > (k - 1) * d for k, d in zip(kernel, dilation, strict=True)):
        raise ConfigError(f"`{name}` is {value}", "windows would lie in padding alone", "make it less than the kernel")


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def as_images(x: Array, flat: bool) -> Array:
    """Give x (N, H, W, C), or with `flat` sequences (N, T, C) as images of height 1; a view."""
    return x[:, None] if flat else x


def image_shape(kind: str, shape: Shape, flat: bool) -> Shape:
    """The shape of one row as (H, W, C). Raises ShapeError."""
    expected = "(T, C)" if flat else "(H, W, C)"
    if len(shape) != (2 if flat else 3):
        raise ShapeError(
            f"rows of shape {shape} do not fit",
            f"{kind} takes rows of shape {expected}, channels last",
            "put `reshape` in front of it" if np.prod(shape) > 1 else "",
        )
    return (1, *shape) if flat else shape
