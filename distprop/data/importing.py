"""`distprop import`: CSV, NPZ, IDX and folders of images become Parquet that trains as it is."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from distprop.data.cachedir import write_whole
from distprop.data.csv_files import NO_OPTIONS, csv_to_parquet
from distprop.data.csv_options import CsvOptions
from distprop.data.idx import read_idx_folder
from distprop.data.images import IMAGE_ENDINGS, read_images
from distprop.data.npz import read_npz
from distprop.data.numbers_in_text import Say
from distprop.errors import DataError
from distprop.system_errors import refusals, require_text

ROWS_PER_GROUP = 4_096
Tables = dict[str, pa.Table]  # name of the file to write -> its rows
Writers = dict[str, Callable[[Path], None]]  # name of the file to write -> what fills it


def import_data(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    kind: str = "auto",
    size: tuple[int, int] | None = None,
    grey: bool = False,
    csv: CsvOptions = NO_OPTIONS,
    say: Say = lambda _: None,
) -> list[Path]:
    """Write the rows of foreign files as Parquet into the folder `out`, and return the files written.

    kind: csv, npz, idx, images, or auto: by the files' endings. size (height, width) and grey: for images only. say: is
    told in sentences what is left out or changed. Raises DataError; then nothing is left behind.
    """
    paths = [Path(one).expanduser() for one in ([source] if isinstance(source, str | Path) else source)]
    for path in (*paths, Path(out)):
        require_text(path)
    for path in paths:
        with refusals(f"{path} cannot be read"):
            _require_readable(path)
    with refusals(f"{', '.join(map(str, paths))} cannot be read"):
        writers = _writers(paths, kind, size, grey, csv, say)
    return _write(writers, Path(out).expanduser())


def _writers(
    paths: Sequence[Path], kind: str, size: tuple[int, int] | None, grey: bool, csv: CsvOptions, say: Say
) -> Writers:
    kind = _kind_of(paths) if kind == "auto" else kind
    if kind in LEAVES_OUT:
        _tell_left_out(paths, LEAVES_OUT[kind], say)
    if kind == "images":
        return _of_tables(read_images(paths, size, grey))
    if kind == "csv":
        return _read_csv(paths, csv, say)
    if kind in READERS:
        return READERS[kind](paths)
    raise DataError(f"cannot import {kind!r}", f"known are {', '.join(('csv', *READERS, 'images'))}", "use one of them")


def _require_readable(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist", "there is nothing to import", "check the path")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is no plain file", "it is a pipe or a device", "write its content into a file first")


def _kind_of(paths: Sequence[Path]) -> str:
    names = [str(file).lower().removesuffix(".gz") for path in paths for file in _files(path)]
    if any(name.endswith(IMAGE_ENDINGS) for name in names):
        return "images"
    for ending, kind in ENDINGS.items():
        if any(name.endswith(ending) for name in names):
            return kind
    raise DataError(
        f"cannot tell what {paths[0]} is",
        "its name ends neither like CSV, NPZ or IDX, nor like images",
        "name the kind: --kind csv, npz, idx or images",
    )


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _write(writers: Writers, out: Path) -> list[Path]:
    """All files or none: those written are removed again where a later one fails."""
    written: list[Path] = []
    with refusals(f"{out} cannot be written"):
        made = not out.exists()
    try:
        for name, fill in sorted(writers.items()):
            with refusals(f"{out / name}.parquet cannot be written"):
                write_whole(out / f"{name}.parquet", fill)
            written.append(out / f"{name}.parquet")
    except BaseException:
        with suppress(OSError):  # what went wrong is what is told
            for path in written:
                path.unlink(missing_ok=True)
            if made:
                out.rmdir()
        raise
    return written


def _of_tables(tables: Tables) -> Writers:
    return {name: _writer(table) for name, table in tables.items()}


def _writer(table: pa.Table) -> Callable[[Path], None]:
    return lambda part: pq.write_table(table, part, compression="zstd", row_group_size=ROWS_PER_GROUP)


def _read_csv(paths: Sequence[Path], options: CsvOptions, say: Say) -> Writers:
    files = [file for path in paths for file in sorted(_files(path)) if _is_csv(file)]
    named: dict[str, Path] = {}
    for file in files:
        other = named.setdefault(_stem(file), file)
        if other != file:
            raise DataError(
                f"{other} and {file} would both become {_stem(file)}.parquet",
                "one of them would be lost",
                "rename one of them, or import them into different folders",
            )
    return {name: _csv_writer(file, options, say) for name, file in named.items()}


def _csv_writer(file: Path, options: CsvOptions, say: Say) -> Callable[[Path], None]:
    return lambda part: csv_to_parquet(file, part, ROWS_PER_GROUP, options, say)


def _is_csv(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))


def _tell_left_out(paths: Sequence[Path], takes: Callable[[Path], bool], say: Say) -> None:
    """Say which files of the folders are not read."""
    others = [file for path in paths for file in sorted(_files(path)) if not takes(file)]
    if others:
        shown = ", ".join(file.name for file in others[:3]) + (", ..." if len(others) > 3 else "")
        say(f"left out: {len(others)} files of another kind ({shown})")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def _read_npz(paths: Sequence[Path]) -> Writers:
    tables: Tables = {}
    for path in paths:
        tables |= read_npz(path)
    return _of_tables(tables)


READERS: dict[str, Callable[[Sequence[Path]], Writers]] = {
    "npz": _read_npz,
    "idx": lambda paths: _of_tables(read_idx_folder(paths)),
}
LEAVES_OUT: dict[str, Callable[[Path], bool]] = {
    "csv": _is_csv,
    "images": lambda path: path.suffix.lower() in IMAGE_ENDINGS,
}
ENDINGS = {".csv": "csv", ".tsv": "csv", ".npz": "npz", "-ubyte": "idx", ".idx": "idx"}
