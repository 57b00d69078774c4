"""What a host's machine is doing, in the words of MLflow's system metrics."""

import importlib
from typing import Any

MEGABYTE = 1e6


def sample_host() -> dict[str, float]:
    """Figures of this machine since the last call: CPU in percent, memory, disk and network in megabytes.

    Network and disk traffic count from the machine's start. Empty where psutil is not installed.
    """
    try:
        psutil: Any = importlib.import_module("psutil")
    except ImportError:
        return {}
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage("/")
    figures = {
        "cpu_utilization_percentage": psutil.cpu_percent(interval=None),
        "system_memory_usage_megabytes": memory.used / MEGABYTE,
        "system_memory_usage_percentage": memory.percent,
        "disk_usage_megabytes": disk.used / MEGABYTE,
        "disk_usage_percentage": disk.percent,
        "disk_available_megabytes": disk.free / MEGABYTE,
    }
    traffic = psutil.net_io_counters()
    if traffic is not None:  # None where there is no network interface
        figures["network_receive_megabytes"] = traffic.bytes_recv / MEGABYTE
        figures["network_transmit_megabytes"] = traffic.bytes_sent / MEGABYTE
    return {name: float(value) for name, value in figures.items()}
