"""The words that the types of this room are made of."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

RUN = 32_768
"""Values that are worked on at once: 128 kB of float32, so that all vectors of an update stay in a core's cache."""
