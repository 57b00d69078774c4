"""The file that a command writes: never one of those that it reads, and one that can be written."""

import os
from collections.abc import Iterable
from pathlib import Path

from distprop.data.finding import covers
from distprop.errors import ConfigError
from distprop.system_errors import refusals


def check_output(out: Path, files: Iterable[str], names: Iterable[str] = (), option: str = "--out") -> None:
    """Raise ConfigError where writing `out` would change an input, or `out` can be no file.

    files: paths that the command reads; compared as files, so that a link or another spelling is the same file.
    names: folders and globs that it reads, of which a new file would become a part.
    """
    with refusals(f"{option} {out!s:.300} cannot be written"):
        _require_file(out, option)
    for file in files:
        if _same(out, Path(file)):
            raise ConfigError(
                f"{option} {out} is also the input {file}",
                "writing it would destroy the rows that are read",
                "name another file",
            )
    for name in names:
        if covers(name, out):
            raise ConfigError(
                f"{option} {out} belongs to {name}, which is read",
                "a file written there would become a part of the input",
                "name a file in another folder",
            )


def _require_file(out: Path, option: str) -> None:
    """It is one, or can become one."""
    if out.is_dir():
        raise ConfigError(f"{option} {out} is a folder", "a file is written", f"name a file, as {out / 'out.parquet'}")
    if out.exists() and not out.is_file():
        raise ConfigError(f"{option} {out} is no plain file", "it would be replaced", "name a new file")
    _check_parent(out, option)


def _check_parent(out: Path, option: str) -> None:
    """The nearest folder above that exists is one."""
    above = next(parent for parent in out.absolute().parents if parent.exists() or parent.is_symlink())
    if not above.is_dir():
        raise ConfigError(f"{option} {out} cannot be written", f"{above} is no folder", "name a file in a folder")


def _same(out: Path, file: Path) -> bool:
    try:
        return out.samefile(file)
    except OSError:  # one of them is not there
        return os.path.realpath(out) == os.path.realpath(file)
