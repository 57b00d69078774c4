"""The words that the types of this room are made of."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
Params = Mapping[str, Array]
"""The parameters of one layer, or their gradients, by name ("W", "b"): views of an arena."""

BLOCK = 16_384
"""Values in a block; 64 kB of float32, so that a few of them stay in a core's cache."""
