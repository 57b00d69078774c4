"""The fingerprint: what a job's bits depend on, so that two runs that differ can be told why."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module

import numpy as np

from distprop.numerics.canary import canary
from distprop.numerics.verify import loaded_blas


@dataclass(frozen=True)
class Fingerprint:
    """One field each for what the bits depend on."""

    recipe: str
    data: str
    python: str
    numpy: str
    libc: str
    blas: str
    kernel: str
    cpu_features: str
    canary: str

    def plain(self) -> dict[str, str]:
        """The fields by name."""
        return asdict(self)

    def differences(self, other: Mapping[str, str]) -> list[str]:
        """The fields that differ from another fingerprint's, as "numpy: 2.4.6 here, 2.3.0 there"."""
        return [
            f"{key}: {here} here, {other.get(key)} there"
            for key, here in self.plain().items()
            if other.get(key) != here
        ]


def take_fingerprint(recipe: str, data: str, kernel: str) -> Fingerprint:
    """The fingerprint of this process, for a recipe (its hash), data (its digest) and kernel."""
    blas = loaded_blas()
    return Fingerprint(
        recipe=recipe,
        data=data,
        python=platform.python_version(),
        numpy=np.__version__,
        libc=" ".join(platform.libc_ver()),
        blas=f"openblas {blas['version']}" if blas else "other",
        kernel=kernel,
        cpu_features=" ".join(_dispatched()),
        canary=canary(),
    )


def _dispatched() -> list[str]:
    """NumPy's own loops that are in use, by the CPU feature they are made for."""
    core = import_module("numpy._core._multiarray_umath")
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
