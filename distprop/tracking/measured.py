"""What was measured at which step, to say afterwards which points measure the model that was kept."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

OF_THE_MODEL = ("valid/", "test/")
"""Final metrics that are those of the kept model, whatever step the training ended at."""


class Value(NamedTuple):
    """One value of a metric; time in milliseconds since the epoch."""

    step: int
    value: float
    time: int


class Measured:
    """The values of each metric, in the order in which they came."""

    def __init__(self) -> None:
        self._values: dict[str, list[Value]] = defaultdict(list)

    def add(self, step: int, time: int, metrics: Mapping[str, float]) -> None:
        """Remember what was measured at `step`."""
        for name, value in metrics.items():
            self._values[name].append(Value(step, value, time))

    def at(self, name: str, final: float, step: int, time: int, is_last: bool) -> tuple[str, float, int, int] | None:
        """The point (name, value, time, step) of a metric that measures the model of `step`; None where there is none.

        final, time: the metric's final value and when it was told. is_last: whether the training ended at `step`.
        A curve of means over windows of steps has its last window that ends at `step` or before.
        """
        values = self._values.get(name, [])
        before = [one for one in values if one.step <= step]
        if before:
            found = max(before, key=lambda one: one.step)
        elif name.startswith(OF_THE_MODEL):
            found = next((one for one in values if one.value == final), Value(step, final, time))
        elif is_last:
            found = Value(step, final, time)
        else:
            return None
        return name, found.value, found.time, found.step


def time_in_run(client: Any, run_id: str, metric: str, value: float, time: int, step: int) -> int:
    """When the run measured this value at this step, in milliseconds; `time` where it did not.

    MLflow takes a point of another time for another point, and a process that goes on with a run knows no times of
    what was measured before it. client: an MlflowClient.
    """
    same = (point for point in client.get_metric_history(run_id, metric) if (point.step, point.value) == (step, value))
    return next((int(point.timestamp) for point in same), time)
