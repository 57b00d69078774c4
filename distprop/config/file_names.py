"""Names that become names of folders and files: of a job, and of a training that is retried."""

import re

MOST_BYTES = 200
"""Filesystems take 255, and more is put behind a name."""

_PLAIN = re.compile(r"[^/\\\x00-\x1f\x7f]+")


def unfit(name: str) -> str | None:
    """Why a folder cannot be called so, or would lie elsewhere; None where it can."""
    if not name.strip() or name.strip() in (".", ".."):
        return "that names no folder of its own"
    if not _PLAIN.fullmatch(name):
        return "it is part of a path, and what is in it would lie elsewhere: it has no /, \\ or control characters"
    if len(name.encode(errors="surrogatepass")) > MOST_BYTES:
        return f"it has more than {MOST_BYTES} bytes, which is too long for a file's name"
    return None
