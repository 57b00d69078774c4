"""The operations of tapes, by their numbers: as in _compiled.c, and what NumPy has for each."""

from collections.abc import Callable
from typing import Any

import numpy as np

ADD, SUBTRACT, MULTIPLY, DIVIDE, MINIMUM, MAXIMUM, SQRT, SIGN, COPY, FILL, SQUARES = range(11)

BINARY: tuple[Callable[..., Any], ...] = (np.add, np.subtract, np.multiply, np.divide, np.minimum, np.maximum)
"""Those with two operands, by number: the second may be a scalar, and is one for minimum and maximum."""
