"""Whether this process really computes with the kernel it was given: OpenBLAS takes an unknown name in silence."""

from functools import cache
from typing import Any

from distprop.errors import FingerprintError
from distprop.numerics.kernel import KERNELS


def loaded_blas() -> dict[str, Any] | None:
    """What threadpoolctl says of NumPy's OpenBLAS: version, architecture, num_threads; None for another BLAS."""
    found = [pool for pool in _libraries().info() if pool["internal_api"] == "openblas"]
    return min(found, key=lambda pool: "numpy" not in pool["filepath"]) if found else None


@cache
def _libraries() -> Any:
    """A threadpoolctl.ThreadpoolController. To find what is loaded takes long; to ask it for its threads does not."""
    import numpy as np
    from threadpoolctl import ThreadpoolController

    np.dot(np.ones(2), np.ones(2))  # loaded, for certain
    return ThreadpoolController()


def verify_kernel(name: str) -> None:
    """Raise FingerprintError unless OpenBLAS runs kernel `name` on one thread. Other BLAS libraries have no choice."""
    blas = loaded_blas()
    if blas is None:
        return
    wanted = KERNELS[name].coretype
    if str(blas["architecture"]).lower() != wanted.lower():
        raise FingerprintError(
            f"OpenBLAS runs the kernel {blas['architecture']}, not {wanted}",
            "NumPy was loaded before the kernel was set, or this OpenBLAS does not have it",
            "let distprop start its own processes: use `distprop train`, or `dp.train` without `inline`",
        )
    if blas["num_threads"] != 1:
        raise FingerprintError(
            f"OpenBLAS runs {blas['num_threads']} threads",
            "one thread a process is part of the law of bits",
            "do not raise its threads with threadpoolctl while a job runs",
        )
