"""The user's cache folder, and files that appear in it whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """`$DISTPROP_CACHE`, or ~/.cache/distprop. Not made here."""
    return Path(os.environ.get("DISTPROP_CACHE") or Path.home() / ".cache" / "distprop")


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file that takes the name `path` only once it is whole; nothing is left if it fails.

    Several processes may do so at once: the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """As `write_whole`, for a text."""

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    write_whole(path, write)
