"""The digest of an arena: SHA-256 over the SHA-256s of its blocks, so that servers hash their slices alone."""

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Span(Protocol):
    """Values start..stop of the flat vector; `nn.arena.Block` is one."""

    @property
    def start(self) -> int:
        """First value."""
        ...

    @property
    def stop(self) -> int:
        """One past the last value."""
        ...


def block_digests(flat: NDArray[Any], blocks: Iterable[Span]) -> tuple[bytes, ...]:
    """SHA-256 of each block's values as little-endian bytes; flat (P,), 32 bytes a block.

    A server may pass the blocks of its slice, counted from the slice's first value.
    """
    values = np.ascontiguousarray(flat, dtype=flat.dtype.newbyteorder("<"))
    return tuple(hashlib.sha256(values[block.start : block.stop].data).digest() for block in blocks)


def digest(hashes: Iterable[bytes]) -> str:
    """The digest of a whole arena, 64 hexadecimal figures, from its blocks' hashes in the arena's order."""
    return hashlib.sha256(b"".join(hashes)).hexdigest()
