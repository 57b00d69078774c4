"""Folders on any filesystem that pyarrow knows: a local path, s3://, gs://, hdfs://, abfs://."""

import os
from typing import Any


class Folder:
    """A folder that need not exist yet. Files are written whole or not at all."""

    def __init__(self, path: str) -> None:
        from pyarrow import fs

        self.path = path if "://" in path else os.path.abspath(path)
        self._fs: Any
        if "://" in path:
            self._fs, self._root = fs.FileSystem.from_uri(path)
        else:
            self._fs, self._root = fs.LocalFileSystem(), self.path

    def inner(self, name: str) -> "Folder":
        """The folder `name` in this one."""
        return Folder(f"{self.path.rstrip('/')}/{name}")

    def write(self, name: str, *content: bytes | memoryview) -> None:
        """Write a file, one piece behind the other, under another name; then give it its own.

        Raises OSError where there is no room or no access.
        """
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
