"""How often a job may lose a server before it is given up: counted without progress between the losses."""

from dataclasses import dataclass

MOST_LOSSES = 3
"""Losses in a row, without progress between them, after which a job goes on; the next one ends it."""


@dataclass
class LossLimit:
    """Counts losses since the job last got further than ever before.

    >>> limit = LossLimit(most=1)
    >>> limit.allows_another(checkpoint=0, version=40), limit.allows_another(checkpoint=0, version=40)
    (True, False)
    >>> limit.allows_another(checkpoint=0, version=41)
    True
    """

    most: int = MOST_LOSSES
    losses: int = 0
    checkpoint: int = -1
    version: int = -1

    def allows_another(self, checkpoint: int, version: int) -> bool:
        """Count a loss at `version`, after a session that went on from `checkpoint`; whether the job goes on."""
        if checkpoint > self.checkpoint or version > self.version:
            self.losses = 0
        self.checkpoint, self.version = max(checkpoint, self.checkpoint), max(version, self.version)
        self.losses += 1
        return self.losses <= self.most
