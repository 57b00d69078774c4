"""The kernel is chosen from the CPU's features, set before NumPy loads, and verified."""

import os
import subprocess
import sys

import pytest

from distprop.errors import ConfigError, FingerprintError
from distprop.numerics.canary import canary
from distprop.numerics.kernel import KERNELS, MARK, choose, cpu_features, environment, in_force
from distprop.numerics.verify import loaded_blas, verify_kernel

AVX2 = {"avx", "avx2", "fma", "f16c", "sse4_2"}
RUNNABLE = [name for name, kernel in KERNELS.items() if kernel.needs <= cpu_features()]
PROBE = """
from distprop.numerics.canary import canary
from distprop.numerics.verify import loaded_blas, verify_kernel
import os
verify_kernel(os.environ["DISTPROP_KERNEL"])
print(canary())
"""


def test_this_very_process_computes_with_the_kernel_of_real_jobs() -> None:
    assert in_force(environment("auto"))
    verify_kernel(os.environ[MARK])


def test_auto_takes_the_best_kernel_that_the_cpu_can_run() -> None:
    assert choose("auto", AVX2) == "haswell"
    assert choose("auto", {*AVX2, *KERNELS["skylakex"].needs}) == "skylakex"
    assert choose("auto", {"sse4_2"}) == "nehalem"


@pytest.mark.parametrize(
    ("wanted", "features", "said"),
    [
        ("haswel", AVX2, "haswell"),
        ("skylakex", AVX2, "avx512f"),
        ("auto", {"nothing"}, "no BLAS kernel"),
    ],
)
def test_a_kernel_that_cannot_be_run_is_refused_with_the_reason(wanted: str, features: set[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choose(wanted, features)


@pytest.mark.parametrize("kernel", RUNNABLE)
def test_every_runnable_kernel_is_really_the_one_that_runs(kernel: str) -> None:
    """Started over a preset of another kernel, two processes verify it and agree on the canary."""
    preset = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2", **environment(kernel)}
    started = [subprocess.Popen([sys.executable, "-c", PROBE], env=preset, stdout=-1, text=True) for _ in range(2)]
    said = [one.communicate()[0].strip() for one in started]
    assert said[0] == said[1] and len(said[0]) == 64


def test_a_kernel_that_is_not_in_force_is_noticed() -> None:
    blas = loaded_blas()
    if blas is None:
        pytest.skip("NumPy is not built with OpenBLAS here")
    other = next(name for name, k in KERNELS.items() if k.coretype.lower() != str(blas["architecture"]).lower())
    with pytest.raises(FingerprintError, match=KERNELS[other].coretype):
        verify_kernel(other)


def test_more_threads_than_one_are_noticed() -> None:
    import threadpoolctl

    if loaded_blas() is None:
        pytest.skip("NumPy is not built with OpenBLAS here")
    with threadpoolctl.threadpool_limits(2), pytest.raises(FingerprintError, match="2 threads"):
        verify_kernel(os.environ[MARK])


def test_the_canary_sings_the_same_song_twice() -> None:
    assert canary() == canary()
