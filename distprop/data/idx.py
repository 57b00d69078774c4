"""IDX files, the format of MNIST (LeCun, http://yann.lecun.com/exdb/mnist): pairs of images and labels."""

import gzip
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.data.tables import column_from_array, table_of
from distprop.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
COLUMNS = {"images": "image", "labels": "label"}
SPLITS = {"t10k": "test", "": "train"}


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, plain or gzipped. Raises DataError."""
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"cannot read {path}", str(error), "download it again") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise DataError(f"{path} is no IDX file", "it does not begin like one", "check the file")
    axes = content[3]
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", min(axes, len(content) // 4 - 1), 4))
    kind = np.dtype(TYPES[content[2]])
    if len(shape) != axes or len(content) != 4 + 4 * axes + math.prod(shape) * kind.itemsize:
        raise DataError(f"{path} is truncated", f"its header promises {shape} values", "download it again")
    values = np.frombuffer(content, kind, offset=4 + 4 * axes).reshape(shape)
    return values.astype(kind.newbyteorder("="))


def read_idx_folder(paths: Sequence[Path]) -> dict[str, pa.Table]:
    """Tables by split from files such as train-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte. Raises DataError."""
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    splits: dict[str, dict[str, NDArray[Any]]] = {}
    for file in files:
        named = re.match(r"(?P<split>.*?)[-_.]?(?P<what>images|labels)", file.name)
        if named:
            split = SPLITS.get(named["split"], named["split"])
            splits.setdefault(split, {})[COLUMNS[named["what"]]] = read_idx(file)
    if not splits:
        raise DataError(
            f"no IDX files in {paths[0]}",
            "names have `images` or `labels` in them, such as train-images-idx3-ubyte.gz",
            "rename the files so, or check the path",
        )
    return {split: _table(split, arrays) for split, arrays in splits.items()}


def _table(split: str, arrays: dict[str, NDArray[Any]]) -> pa.Table:
    if len({len(array) for array in arrays.values()}) > 1:
        counts = ", ".join(f"{len(array)} {name}s" for name, array in arrays.items())
        raise DataError(f"the {split} files do not belong together", f"they have {counts}", "check the files")
    image = arrays.get("image")
    if image is not None and image.ndim == 3:
        arrays = arrays | {"image": image[..., None]}
    return table_of([column_from_array(name, arrays[name]) for name in sorted(arrays)])
