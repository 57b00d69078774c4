"""Loads a logged model where distprop may not be installed.

A copy of this file and the package's source in `distprop.zip` lie side by side in the `code` folder of each logged
model, which MLflow puts on the path. An installed distprop is preferred: its loops are compiled. Else the one in the
zip is used, which gives the same bits. Nothing is fetched from a package index, where our name may be another's.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ARCHIVE = "distprop.zip"


def _load_pyfunc(path: str) -> Any:
    """Called by MLflow with the model's data; returns what it wraps, a `distprop.flavor.Predictor`."""
    if not _is_installed():
        sys.path.insert(0, str(Path(__file__).with_name(ARCHIVE)))
    from distprop import flavor

    return flavor.load_predictor(path)


def _is_installed() -> bool:
    """Whether `import distprop` finds this project; another of the same name has no flavor."""
    found = find_spec("distprop")
    places = found.submodule_search_locations if found is not None else None
    return any(Path(place, "flavor.py").is_file() for place in places or ())
