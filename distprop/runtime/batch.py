"""All rows of a step, as an update needs them."""

from typing import NamedTuple

import numpy as np

from distprop.optim.groups import Group


class Batch(NamedTuple):
    """All rows of a step: their weight, and how many they are."""

    weight: float
    rows: float

    def share(self, group: Group) -> np.float32:
        """What makes a sum over rows their mean: statistics' by number. Rows that weigh nothing have no gradient."""
        size = self.rows if group.follows else self.weight
        return np.float32(1.0 / size if size else 0.0)
