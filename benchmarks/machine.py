"""The machine that figures are of, and what it moves."""

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from distprop.installation import PACKAGE, uncompiled
from distprop.numerics.kernel import choose, cpu_features

PACKAGES = ("numpy", "ray", "pyarrow", "torch", "scikit-learn")
QUIET = 0.3
"""Load a core up to which a machine counts as nobody else's."""


def describe() -> dict[str, Any]:
    """Everything about this machine and its software that figures depend on."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return {
        "cpu": _cpu(),
        "cores": cores,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_before": round(load, 2),
        "shared": load / cores > QUIET,
        "kernel": choose("auto", cpu_features()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "package": str(PACKAGE),
        "compiled": not uncompiled(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(sys.argv[1:]),
    }


def loopback_bytes() -> int:
    """Bytes that went over this machine's loopback interface so far; 0 where that is not to be seen."""
    try:
        with open("/proc/net/dev", encoding="utf-8") as lines:
            found = [line.split(":")[1].split() for line in lines if line.strip().startswith("lo:")]
    except OSError:
        return 0
    return int(found[0][8]) if found else 0


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
