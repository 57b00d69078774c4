"""From what a user writes (file, folder, glob, URI) to a sorted list of Parquet files."""

import os
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from distprop.errors import DataError
from distprop.system_errors import refusals, require_text

PARQUET_ENDINGS = (".parquet", ".parq", ".pq")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # as writers of partitioned tables call a null


Value = int | str | None  # of a folder's name


@dataclass(frozen=True)
class Found:
    """Files in sorted order, each once; stamps: (bytes, modified ns); bases: the folder that was named, of each."""

    filesystem: Any
    files: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]
    bases: tuple[str, ...]


def folder_values(found: Found, stored: Container[str]) -> tuple[dict[str, Value], ...]:
    """Of each file the columns that its folders give: `year=2026/town=Rome/a.parquet`. What files store beats them."""
    texts = [_parts(path, base) for path, base in zip(found.files, found.bases, strict=True)]
    whole = {name for parts in texts for name in parts}
    for parts in texts:
        whole -= {name for name, text in parts.items() if text is not None and not _WHOLE.fullmatch(text)}
    return tuple(
        {
            name: int(text) if text is not None and name in whole else text
            for name, text in parts.items()
            if name not in stored
        }
        for parts in texts
    )


_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")


def _parts(path: str, base: str) -> dict[str, str | None]:
    inside = path[len(base) :].strip("/").split("/")[:-1] if base else []
    pairs = [part.partition("=") for part in inside]
    return {
        unquote(name): None if text == NO_VALUE else unquote(text) for name, is_pair, text in pairs if is_pair and name
    }


def find_files(names: Sequence[str]) -> Found:
    """The Parquet files that are meant. Raises DataError."""
    found: dict[str, tuple[fs.FileInfo, str]] = {}
    filesystem = None
    for name in names:
        require_text(name)
        this, path = _filesystem(name)
        if filesystem is not None and not filesystem.equals(this):
            raise DataError(
                f"{name} is on another filesystem than {names[0]}",
                "one data set is on one filesystem",
                "copy the files to one place",
            )
        filesystem = this
        with refusals(f"{name} cannot be read"):
            base = "" if filesystem.get_file_info(path).type == fs.FileType.File else _base(path)
            found.update({info.path: (info, base) for info in _infos(this, path, name)})
    with refusals(f"{', '.join(names)} cannot be read"):
        paths = _each_once(sorted(found)) if isinstance(filesystem, fs.LocalFileSystem) else sorted(found)
    infos = [found[path][0] for path in paths]
    stamps = tuple((info.size, info.mtime_ns or 0) for info in infos)
    return Found(filesystem, tuple(paths), stamps, tuple(found[path][1] for path in paths))


def _each_once(paths: Sequence[str]) -> list[str]:
    """The paths without those that are links to another one."""
    known: dict[tuple[int, int], str] = {}
    for path in paths:
        status = os.stat(path)
        known.setdefault((status.st_dev, status.st_ino), path)
    return list(known.values())


def _base(path: str) -> str:
    """The folder itself, or the one in which a glob begins to look."""
    match = re.search(r"[*?\[]", path)
    return path if match is None else path[: match.start()].rpartition("/")[0] or "/"


def _listing(filesystem: Any, folder: str) -> list[fs.FileInfo]:
    """All that is in a folder and those in it. A link to a folder is followed, but none is listed twice."""
    if not isinstance(filesystem, fs.LocalFileSystem):
        return list(filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True)))
    if not os.path.isdir(folder):
        return []
    paths: list[str] = []
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, onerror=_fail, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        paths += [f"{here.rstrip('/')}/{name}" for name in (*folders, *files)]
    return list(filesystem.get_file_info(paths))


def covers(name: str, path: Path) -> bool:
    """Whether `name`, a local folder or glob, would read a file at `path`, were there one."""
    if "://" in name and not name.startswith("file://"):
        return False
    real, wanted = os.path.realpath(path), _filesystem(name)[1]
    if os.path.isdir(wanted):
        return any(Path(one).is_relative_to(os.path.realpath(wanted)) for one in (real, os.path.realpath(path.parent)))
    return bool(re.fullmatch(_glob_to_regex(wanted), str(path.absolute())))


def _filesystem(name: str) -> tuple[Any, str]:
    if "://" not in name:
        return fs.LocalFileSystem(), str(Path(name).expanduser().absolute())
    try:
        filesystem, path = fs.FileSystem.from_uri(name)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(
            f"cannot open {name}",
            str(error).splitlines()[0],
            "check the address; local, s3, gs, hdfs and abfs addresses are known, and sample://",
        ) from error
    return filesystem, path


def _infos(filesystem: Any, path: str, name: str) -> list[fs.FileInfo]:
    try:
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.File:
            return [info]
        if info.type == fs.FileType.Directory:
            return _in_folder(filesystem, path, name)
        if any(letter in path for letter in "*?["):
            return _by_glob(filesystem, path, name)
    except OSError as error:
        raise DataError(f"cannot look at {name}", str(error).splitlines()[0], "check address and access") from error
    raise DataError(f"{name} does not exist", f"there is no file or folder {path}", _near(filesystem, path))


def _in_folder(filesystem: Any, path: str, name: str) -> list[fs.FileInfo]:
    listing = _listing(filesystem, path)
    _refuse_table_formats(listing, path, name)
    files = [info for info in listing if _is_data(info, path)]
    if not files:
        others = sorted({Path(info.path).suffix for info in listing if info.type == fs.FileType.File})
        why = f"it holds only {', '.join(other or 'unnamed' for other in others)} files" if others else "it is empty"
        raise DataError(
            f"folder {name} has no Parquet files",
            why,
            "name another folder, or make Parquet with `distprop import`",
        )
    return files


def _is_data(info: fs.FileInfo, base: str) -> bool:
    inside = info.path[len(base) :].strip("/").split("/")
    hidden = any(part.startswith(("_", ".")) for part in inside)
    return info.type == fs.FileType.File and not hidden and info.path.endswith(PARQUET_ENDINGS)


def _fail(error: OSError) -> None:
    """A folder that cannot be looked into holds rows that would be missing."""
    raise error


def _refuse_table_formats(listing: Iterable[fs.FileInfo], path: str, name: str) -> None:
    names = {info.path[len(path) :].strip("/") for info in listing}
    delta = any(inside.split("/")[-1] == "_delta_log" for inside in names)
    iceberg = any(inside.endswith(".metadata.json") and "metadata/" in inside for inside in names)
    if delta or iceberg:
        kind = "Delta" if delta else "Iceberg"
        raise DataError(
            f"{name} is a {kind} table",
            f"its {kind} log says which files count; reading all of them would bring deleted rows back",
            "export the table's current rows to plain Parquet and name that folder",
        )


def _by_glob(filesystem: Any, path: str, name: str) -> list[fs.FileInfo]:
    base, pattern = _base(path), re.compile(_glob_to_regex(path))
    listing = _listing(filesystem, base)
    files = [i for i in listing if i.type == fs.FileType.File and pattern.fullmatch(i.path)]
    if not files:
        raise DataError(f"no file matches {name}", f"looked in {base}", "check the pattern; `**` goes into folders")
    return files


def _glob_to_regex(pattern: str) -> str:
    """`*` and `?` stay within one path component, `**/` crosses them, `[abc]` is a set."""
    pieces = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*|\?|\[[^\]]+\]|.", pattern, flags=re.DOTALL)
    return "".join(
        pieces.get(token) or (token if len(token) > 1 and token[0] == "[" else re.escape(token)) for token in tokens
    )


def _near(filesystem: Any, path: str) -> str:
    parent = path.rpartition("/")[0] or "/"
    infos = filesystem.get_file_info(fs.FileSelector(parent, allow_not_found=True))
    names = sorted(info.base_name for info in infos if info.base_name.endswith(PARQUET_ENDINGS))
    return f"that folder has {', '.join(names[:5])}" if names else f"check the path; {parent} has no Parquet files"
