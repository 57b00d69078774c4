"""Kinds of values that a message may have, as bytes: numbers, texts, arrays, and tuples, mappings, records of them.

Nothing says of itself what it is, so nothing but what is expected can be read. The bytes of arrays are kept beside
those of all else, and are not copied. What is not as it must be raises one of the errors in UNREADABLE.
"""

import math
import struct
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

UNREADABLE = ValueError, TypeError, LookupError, OverflowError, struct.error
"""What reading raises where the bytes are not of the kind that is expected."""

_COUNT = struct.Struct("<I")


class Out:
    """What is being written: `head`, and the bytes of arrays."""

    __slots__ = ("arrays", "head")

    def __init__(self) -> None:
        self.head, self.arrays = bytearray(), list[memoryview]()


class In:
    """What is being read, from byte `at` and array `used` on."""

    __slots__ = ("arrays", "at", "head", "used")

    def __init__(self, head: memoryview, arrays: list[memoryview]) -> None:
        self.head, self.arrays, self.at, self.used = head, arrays, 0, 0

    def numbers(self, form: struct.Struct) -> tuple[Any, ...]:
        """The next numbers of this form."""
        found = form.unpack_from(self.head, self.at)
        self.at += form.size
        return found

    def count(self) -> int:
        """A number of things that follow, each of which takes at least a byte."""
        (count,) = self.numbers(_COUNT)
        if count > len(self.head) - self.at:
            raise ValueError(f"{count} things in {len(self.head) - self.at} bytes")
        return int(count)

    def require_end(self) -> None:
        """Raise ValueError where anything is left."""
        if (self.at, self.used) != (len(self.head), len(self.arrays)):
            raise ValueError(f"{len(self.head) - self.at} bytes, {len(self.arrays) - self.used} arrays too many")


class Kind(Protocol):
    """How values of a kind are written and read."""

    def write(self, value: Any, out: Out) -> None:
        """Write a value."""
        ...

    def read(self, source: In) -> Any:
        """Read a value. Raises what UNREADABLE lists."""
        ...


class Number:
    """One number: "q" whole, "d" real, "?" a truth. Several in a row are written and read at once."""

    def __init__(self, letter: str) -> None:
        self.letter, self._form = letter, struct.Struct("<" + letter)

    def write(self, value: Any, out: Out) -> None:
        """As 8 bytes, or 1."""
        out.head += self._form.pack(value)

    def read(self, source: In) -> Any:
        """The number."""
        return source.numbers(self._form)[0]


class Text:
    """Any text, as UTF-8."""

    def write(self, value: str, out: Out) -> None:
        """Behind its length."""
        text = value.encode(errors="surrogatepass")
        out.head += _COUNT.pack(len(text)) + text

    def read(self, source: In) -> str:
        """The text."""
        count = source.count()
        source.at += count
        return str(source.head[source.at - count : source.at], "utf-8", "surrogatepass")


class Maybe:
    """A value, or None."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def write(self, value: Any, out: Out) -> None:
        """Behind a byte that says whether it is there."""
        out.head.append(value is not None)
        if value is not None:
            self._kind.write(value, out)

    def read(self, source: In) -> Any:
        """The value or None."""
        source.at += 1
        return self._kind.read(source) if source.head[source.at - 1] else None


class Many:
    """A tuple of any length, of values of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def write(self, value: Any, out: Out) -> None:
        """Behind their count."""
        out.head += _COUNT.pack(len(value))
        if isinstance(self._kind, Number):
            out.head += struct.pack(f"<{len(value)}{self._kind.letter}", *value)
            return
        for one in value:
            self._kind.write(one, out)

    def read(self, source: In) -> tuple[Any, ...]:
        """The tuple."""
        count = source.count()
        if isinstance(self._kind, Number):
            return source.numbers(struct.Struct(f"<{count}{self._kind.letter}"))
        return tuple(self._kind.read(source) for _ in range(count))


class Row:
    """A tuple of so many values, each of its kind."""

    def __init__(self, *kinds: Kind) -> None:
        self._kinds = kinds

    def write(self, value: Any, out: Out) -> None:
        """One behind the other."""
        for kind, one in zip(self._kinds, value, strict=True):
            kind.write(one, out)

    def read(self, source: In) -> tuple[Any, ...]:
        """The tuple."""
        return tuple(kind.read(source) for kind in self._kinds)


class Table:
    """A mapping from values of one kind to those of another."""

    def __init__(self, key: Kind, value: Kind) -> None:
        self._keys, self._value = Many(key), value

    def write(self, value: Mapping[Any, Any], out: Out) -> None:
        """All keys, then all values."""
        self._keys.write(value.keys(), out)
        for one in value.values():
            self._value.write(one, out)

    def read(self, source: In) -> dict[Any, Any]:
        """The mapping, in its order."""
        return {key: self._value.read(source) for key in self._keys.read(source)}


class Array:
    """An array of one type, with one of these numbers of axes."""

    def __init__(self, dtype: Any, *axes: int) -> None:
        self._dtype, self._axes = np.dtype(dtype), axes

    def write(self, value: Any, out: Out) -> None:
        """Its shape, and its bytes beside. Raises TypeError for an array of another kind: a mistake in distprop."""
        if value.dtype != self._dtype or value.ndim not in self._axes:
            raise TypeError(f"an array of {value.dtype} with shape {value.shape} is none of {self._dtype}")
        out.head.append(value.ndim)
        out.head += struct.pack(f"<{value.ndim}Q", *value.shape)
        out.arrays.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)

    def read(self, source: In) -> Any:
        """A view of its bytes."""
        axes, content = source.head[source.at], source.arrays[source.used]
        source.at, source.used = source.at + 1, source.used + 1
        if axes not in self._axes:
            raise ValueError(f"an array has {axes} axes")
        shape = source.numbers(struct.Struct(f"<{axes}Q"))
        if math.prod(shape) * self._dtype.itemsize != len(content):
            raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
        return np.frombuffer(content, self._dtype).reshape(shape) if len(content) else np.empty(shape, self._dtype)


class Record:
    """Instances of one class, made of its fields in their order: of a dataclass or a NamedTuple."""

    def __init__(self, made: type[Any], **fields: Kind) -> None:
        self.made, self.kinds, self._steps = made, fields, _steps(list(fields.values()))
        self._get = attrgetter(*fields) if len(fields) > 1 else lambda value: (getattr(value, *fields),)

    def write(self, value: Any, out: Out) -> None:
        """Its fields; numbers that stand side by side at once."""
        values = self._get(value)
        for kind, start, stop in self._steps:
            if isinstance(kind, struct.Struct):
                out.head += kind.pack(*values[start:stop])
            else:
                kind.write(values[start], out)

    def read(self, source: In) -> Any:
        """An instance of the class."""
        values: list[Any] = []
        for kind, _, _ in self._steps:
            if isinstance(kind, struct.Struct):
                values += source.numbers(kind)
            else:
                values.append(kind.read(source))
        return self.made(*values)


def _steps(kinds: list[Kind]) -> list[tuple[Kind | struct.Struct, int, int]]:
    """Kinds with the places of their values; those of numbers in a row as one form."""
    steps: list[tuple[Kind | struct.Struct, int, int]] = []
    start = 0
    while start < len(kinds):
        stop, letters = start, ""
        while stop < len(kinds) and isinstance(number := kinds[stop], Number):
            stop, letters = stop + 1, letters + number.letter
        steps.append((struct.Struct("<" + letters), start, stop) if letters else (kinds[start], start, start + 1))
        start = max(stop, start + 1)
    return steps


class Choice:
    """A value of one of several types, each with its kind. There is no other."""

    def __init__(self, kinds: Mapping[type[Any], Kind]) -> None:
        self._kinds = tuple(kinds.values())
        self._number = {made: number for number, made in enumerate(kinds)}

    def write(self, value: Any, out: Out) -> None:
        """Behind the number of its type. Raises TypeError for any other type: a mistake in distprop."""
        number = self._number.get(type(value))
        if number is None:
            raise TypeError(f"a {type(value).__name__} is not sent to other processes")
        out.head.append(number)
        self._kinds[number].write(value, out)

    def read(self, source: In) -> Any:
        """The value."""
        number = source.head[source.at]
        source.at += 1
        return self._kinds[number].read(source)


def choice(*records: Record) -> Choice:
    """One of several records."""
    return Choice({record.made: record for record in records})
