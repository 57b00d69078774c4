"""How NumPy computes while a leaf is: without warnings, and with buffers that stay in a core's first cache."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

BUFFERED = 2_048
"""Values that NumPy copies at once where an operand does not lie in one run; it takes as many of each operand.

NumPy's own 8,192 are 96 kB for three operands, which are allocated anew at every call. It is the same wherever leaves
are computed: a sum over what does not lie in one run is made of as many values at a time.
"""


@contextmanager
def computing() -> Iterator[None]:
    """What is not finite is seen in the loss."""
    with np.errstate(all="ignore"):
        before = np.setbufsize(BUFFERED)
        try:
            yield
        finally:
            np.setbufsize(before)
