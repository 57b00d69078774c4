"""When to say again what may have been lost: connections lose nothing while they stand, and gradients are heavy."""

from typing import Any


class Silence:
    """Notices that nothing changes; the longer it lasts, the more seldom."""

    def __init__(self, least: float) -> None:
        self._least = self._wait = least
        self._known: Any = None
        self._since = 0.0

    def is_long(self, now: float, known: Any) -> bool:
        """Whether `known` has not changed for long, at `now`, in seconds; the next time must be twice as long."""
        if known != self._known:
            self._known, self._since, self._wait = known, now, self._least
            return False
        if now - self._since < self._wait:
            return False
        self._since, self._wait = now, 2 * self._wait
        return True
