"""What a host's machine is doing, in the words of MLflow's system metrics."""

import importlib
import time
from collections.abc import Callable
from typing import Any

MEGABYTE = 1e6


class HostSampler:
    """Samples this machine: CPU in percent, memory and disk in megabytes, network in megabytes a second.

    Rates are means since the sample before; the first sample has none. clock: seconds from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: tuple[float, dict[str, int]] | None = None

    def sample(self) -> dict[str, float]:
        """The figures now; none where psutil is not installed."""
        try:
            psutil: Any = importlib.import_module("psutil")
        except ImportError:
            return {}
        memory, disk = psutil.virtual_memory(), psutil.disk_usage("/")
        figures = {
            "cpu_utilization_percentage": psutil.cpu_percent(interval=None),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_megabytes": disk.used / MEGABYTE,
            "disk_usage_percentage": disk.percent,
            "disk_available_megabytes": disk.free / MEGABYTE,
            **self._network(psutil.net_io_counters()),
        }
        return {name: float(value) for name, value in figures.items()}

    def _network(self, counters: Any) -> dict[str, float]:
        """Rates of what psutil counts from the machine's start; none where it has no network interface."""
        if counters is None:
            return {}
        now = self._clock()
        counted = {
            "network_receive_megabytes_per_second": counters.bytes_recv,
            "network_transmit_megabytes_per_second": counters.bytes_sent,
        }
        before, self._before = self._before, (now, counted)
        if before is None or now <= before[0]:
            return {}
        return {name: (count - before[1][name]) / MEGABYTE / (now - before[0]) for name, count in counted.items()}
