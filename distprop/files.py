"""Folders on any filesystem that pyarrow knows: a local path, s3://, gs://, hdfs://, abfs://."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distprop.system_errors import require_text

PIECE = 1 << 20  # bytes that are read at once


class Folder:
    """A folder that need not exist yet. Files are written whole or not at all, and last once they are written."""

    def __init__(self, path: str) -> None:
        from pyarrow import fs

        require_text(path)
        self.path = path if "://" in path else os.path.abspath(path)
        self._fs: Any
        if "://" in path:
            self._fs, self._root = fs.FileSystem.from_uri(path)
        else:
            self._fs, self._root = fs.LocalFileSystem(), self.path

    def inner(self, name: str) -> "Folder":
        """The folder `name` in this one."""
        return Folder(f"{self.path.rstrip('/')}/{name}")

    @property
    def outer(self) -> "Folder":
        """The folder that this one is in."""
        return Folder(self.path.rstrip("/").rpartition("/")[0])

    @property
    def local(self) -> bool:
        """Whether it is on a filesystem of this machine."""
        return "://" not in self.path

    def write(self, name: str, *content: bytes | memoryview) -> None:
        """Write a file, one piece behind the other, under another name; then give it its own.

        On a filesystem of this machine it is on the disk when this returns. Nothing is left of what cannot be written.
        Raises OSError where there is no room or no access.
        """
        if self.local:
            _write_lasting(Path(self._root), name, content)
            return
        self._fs.create_dir(self._root, recursive=True)
        with self._fs.open_output_stream(f"{self._root}/.{name}.part", compression=None) as out:
            for piece in content:
                out.write(piece)
        self._fs.move(f"{self._root}/.{name}.part", f"{self._root}/{name}")

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is no such file."""
        if not self.has(name):
            return None
        with self._fs.open_input_stream(f"{self._root}/{name}", compression=None) as source:
            content: bytes = source.read()
        return content

    def sha256(self, name: str) -> str | None:
        """The checksum of a file's content, which is not kept in memory; None where there is no such file."""
        if not self.has(name):
            return None
        found = hashlib.sha256()
        with self._fs.open_input_stream(f"{self._root}/{name}", compression=None) as source:
            while piece := source.read(PIECE):
                found.update(piece)
        return found.hexdigest()

    def has(self, name: str) -> bool:
        """Whether there is a file `name`."""
        return bool(self._fs.get_file_info(f"{self._root}/{name}").is_file)

    def folders(self) -> list[str]:
        """The names of the folders in this one; none where it does not exist or is a file."""
        from pyarrow import fs

        if self._fs.get_file_info(self._root).is_file:
            return []
        listed = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return [info.base_name for info in listed if info.type == fs.FileType.Directory]

    def delete(self, name: str) -> None:
        """Delete a file."""
        self._fs.delete_file(f"{self._root}/{name}")

    def delete_all(self) -> None:
        """Delete this folder and what is in it."""
        self._fs.delete_dir(self._root)


def _write_lasting(folder: Path, name: str, content: tuple[bytes | memoryview, ...]) -> None:
    _make_lasting(folder)
    with _taken_away(folder / f".{name}.part") as partial:
        with open(partial, "wb") as out:
            for piece in content:
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, folder / name)
        _sync(folder)


def _make_lasting(folder: Path) -> None:
    """Make the folder and those it is in, each of them known to its own when this returns."""
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync(one.parent)


@contextmanager
def _taken_away(partial: Path) -> Iterator[Path]:
    """A file to be written, which takes no room any more where that fails."""
    try:
        yield partial
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Have what is in a folder last, where the filesystem can do that with folders."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
