"""Which files of distprop run: whether its loops are compiled, and whether they hide an installed package that is.

Python looks for packages in the current folder first. In a clone of the repository that finds the sources, which nobody
compiled, though `pip install .` put a compiled package beside them: the same bits, several times as slowly.
"""

import os
import sys
import warnings
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGE = Path(__file__).parent
TOLD = "DISTPROP_TOLD_UNCOMPILED"
"""Set once the warning was given: processes that this one starts need not give it again."""


def uncompiled(package: Path = PACKAGE) -> list[str]:
    """The modules that a C compiler makes and that are not there: "loops/_compiled". Each has a stub beside it."""
    stubs = sorted(package.rglob("_*.pyi"))
    return [stub.with_suffix("").relative_to(package).as_posix() for stub in stubs if not _is_built(stub)]


def hidden_package(package: Path = PACKAGE) -> Path | None:
    """The compiled distprop that would be imported if `package`, which is not compiled, were not found before it."""
    if _is_built(package / "loops" / "_compiled"):
        return None
    others = [place for place in sys.path if Path(place or ".").resolve() != package.parent.resolve()]
    found = PathFinder.find_spec("distprop", others)
    places = found.submodule_search_locations if found is not None else None
    installed = [Path(place) for place in places or () if Path(place).resolve() != package.resolve()]
    return next((place for place in installed if _is_built(place / "loops" / "_compiled")), None)


def warn_if_hiding(package: Path = PACKAGE) -> None:
    """Warn, once for this process and those that it starts, where a compiled package is hidden by this one."""
    if os.environ.get(TOLD) or (hidden := hidden_package(package)) is None:
        return
    os.environ[TOLD] = "1"
    warnings.warn(
        f"distprop is imported from {package}, whose loops are not compiled: the numbers are the same, and training is "
        f"several times slower. It hides the compiled package in {hidden}. Go to another folder, or compile this one: "
        "pip install -e .",
        RuntimeWarning,
        stacklevel=3,
    )


def _is_built(module: Path) -> bool:
    return any(module.parent.glob(f"{module.stem}.*so"))
