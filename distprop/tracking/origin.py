"""Which code made a run: the package's version, and its commit where it lies in a clone."""

import subprocess
from pathlib import Path

from distprop import __version__

PACKAGE = Path(__file__).parents[1]
SECONDS = 5.0  # for git on a slow disk


def origin(package: Path = PACKAGE) -> dict[str, str]:
    """Tags of a run: `distprop.package_version`, and `distprop.git_commit` ("...-dirty" after changes) of a clone."""
    commit = _commit(package)
    return {"distprop.package_version": __version__, **({"distprop.git_commit": commit} if commit else {})}


def _commit(package: Path) -> str:
    """The commit of the repository that holds `package`; empty where it is installed inside another one's folder."""
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)  # noqa: S603 - ours
    return asked.stdout.strip()
