"""The arithmetic kernels that a job's processes use: chosen before NumPy loads, the same on every host.

OpenBLAS and NumPy choose their loops by the machine's CPU, and other loops give other bits. Both read the environment
when they load, so it is set before: the command line executes itself again, actors are started with it.
Nothing here imports NumPy.
"""

import os
import platform
import sys
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

from distprop.errors import ConfigError
from distprop.suggest import suggest_name

MARK = "DISTPROP_KERNEL"
"""Names the kernel that this process was started with."""


class Kernel(NamedTuple):
    """An OpenBLAS kernel, the CPU features that it needs, and the level of NumPy's own loops that goes with it."""

    coretype: str
    needs: frozenset[str]
    level: int  # index into the features of NUMPY_LEVELS that are left on


NUMPY_LEVELS = (
    ("X86_V3", "SSSE3 SSE41 POPCNT SSE42 AVX F16C FMA3 AVX2"),
    ("X86_V4", "AVX512F AVX512CD AVX512_SKX"),
    ("AVX512_ICL AVX512_SPR", "AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"),
)
"""What NumPy dispatches on, by level: names since 2.4, and names before."""

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"})
KERNELS: Mapping[str, Kernel] = {  # best first
    "skylakex": Kernel("SkylakeX", _AVX512 | {"avx2", "fma"}, 2),
    "haswell": Kernel("Haswell", frozenset({"avx2", "fma", "f16c"}), 1),
    "sandybridge": Kernel("Sandybridge", frozenset({"avx"}), 0),
    "nehalem": Kernel("Nehalem", frozenset({"sse4_2"}), 0),
    "neoversen1": Kernel("neoversen1", frozenset({"asimddp"}), 0),
    "armv8": Kernel("armv8", frozenset({"asimd"}), 0),
}


def choose(wanted: str, features: Collection[str]) -> str:
    """The kernel for a CPU with `features`: the wanted one, or for "auto" the best. Raises ConfigError."""
    if wanted == "auto":
        fitting = [name for name, kernel in KERNELS.items() if kernel.needs <= set(features)]
        if not fitting:
            raise ConfigError(
                "no BLAS kernel is known for this CPU",
                f"it has none of the features of {', '.join(KERNELS)}",
                "run on x86-64 or aarch64",
            )
        return fitting[0]
    if wanted not in KERNELS:
        known = ("auto", *KERNELS)
        raise ConfigError(
            f"unknown BLAS kernel {wanted!r}", f"there are: {', '.join(known)}", suggest_name(wanted, known)
        )
    missing = KERNELS[wanted].needs - set(features)
    if missing:
        raise ConfigError(
            f"numerics.blas_kernel is {wanted!r}, which this CPU cannot run",
            f"it lacks {', '.join(sorted(missing))}",
            "set `numerics.blas_kernel: auto`, which takes the best that all hosts share",
        )
    return wanted


@cache
def cpu_features() -> frozenset[str]:
    """The CPU's features by the names of Linux."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            listed = [line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))]
    except OSError:
        return frozenset({"asimd"} if platform.machine() in ("arm64", "aarch64") else {"sse4_2"})
    return frozenset(listed[0].split()) if listed else frozenset()


def environment(kernel: str) -> dict[str, str]:
    """The environment of a process that computes with `kernel` ("auto": the best of this machine)."""
    name = choose(kernel, cpu_features())
    return {
        MARK: name,
        "OPENBLAS_CORETYPE": KERNELS[name].coretype,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": _levelled(KERNELS[name]),
    }


def _levelled(kernel: Kernel) -> str:
    """The loops of NumPy above the kernel's level, by the names of the installed NumPy."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ""
    major, minor = (int(part) for part in version("numpy").split(".")[:2])
    names = 0 if (major, minor) >= (2, 4) else 1
    return " ".join(level[names] for level in NUMPY_LEVELS[kernel.level :])


def in_force(wanted: Mapping[str, str]) -> bool:
    """Whether this process was started with the environment `wanted`, before NumPy loaded."""
    return all(os.environ.get(key) == value for key, value in wanted.items())


def reexecute_with(wanted: Mapping[str, str]) -> None:
    """Execute this program again with the environment `wanted`, unless it already has it."""
    if in_force(wanted):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})  # noqa: S606
