"""Folders of pictures, one folder a class: folder/cat/1.png, or folder/train/cat/1.png."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distprop.data.tables import fixed_list, plain, table_of
from distprop.errors import DataError
from distprop.philox import permutation

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
SPLIT_FOLDERS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid",
                 "test": "test"}  # fmt: skip
SHUFFLE = (0, 3, (0, 0, 1))  # one fixed order, so that the classes are mixed


def read_images(paths: Sequence[Path], size: tuple[int, int] | None, grey: bool) -> dict[str, pa.Table]:
    """Tables by split with columns image (height, width, 1 or 3) uint8 and label (the class folder's name).

    All images must have one size, unless `size` (height, width) says what to resize them to. Raises DataError.
    """
    folder = paths[0]
    if len(paths) > 1 or not folder.is_dir():
        raise DataError(f"{folder} is no folder of images", "each class is a folder in one folder", "name that folder")
    inside = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    splits = {SPLIT_FOLDERS[entry.name.lower()]: entry for entry in inside if entry.name.lower() in SPLIT_FOLDERS}
    if not splits:
        splits = {"train": folder}
    return {split: _table(place, size, grey) for split, place in splits.items()}


def _table(folder: Path, size: tuple[int, int] | None, grey: bool) -> pa.Table:
    files = [
        (file, entry.name)
        for entry in sorted(folder.iterdir())
        if entry.is_dir()
        for file in sorted(entry.rglob("*"))
        if file.suffix.lower() in IMAGE_ENDINGS
    ]
    if not files:
        raise DataError(f"no images in {folder}", "each class is a folder in it", "check the path")
    order = permutation(*SHUFFLE, size=len(files))
    files = [files[i] for i in order]
    pixels = [_pixels(file, size, grey) for file, _ in files]
    for (file, _), image in zip(files, pixels, strict=True):
        if image.shape != pixels[0].shape:
            raise DataError(
                f"{file} is {_size(image)}, {files[0][0]} is {_size(pixels[0])}",
                "all images of a data set have one size and one number of colours",
                "resize them with --size HEIGHTxWIDTH, and use --grey where only some have colours",
            )
    labels = np.array([label for _, label in files])
    classes = sorted(set(labels.tolist()))
    return table_of([fixed_list("image", np.stack(pixels)), plain("label", labels, classes=classes)])


def _size(image: NDArray[Any]) -> str:
    return "x".join(map(str, image.shape))


def _pixels(path: Path, size: tuple[int, int] | None, grey: bool) -> NDArray[np.uint8]:
    """(height, width, 1 or 3) uint8."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("reading images needs Pillow", "it is not installed", "pip install pillow") from error
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(("I", "F")):
                raise OSError(f"its mode is {opened.mode}; only 8 bits a colour are known")
            plain_grey = grey or opened.mode in ("1", "L")
            image = opened.convert("L" if plain_grey else "RGB")
    except OSError as error:
        raise DataError(f"cannot read the image {path}", str(error), "remove or replace it") from error
    if size is not None:
        image = image.resize((size[1], size[0]))
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels
