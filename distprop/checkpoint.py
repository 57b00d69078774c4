"""Checkpoints: arena, optimizer state, cursor and verdicts <-> safetensors and a manifest, on any filesystem.

    FOLDER/0000001000/part-0.safetensors    one server's slice: weights and state vectors
                      part-1.safetensors
                      manifest.json         written last: a version without it is no checkpoint

A checkpoint is read by any number of servers: every part says which values of the arena it has.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distprop import digest as digests
from distprop import manifest as manifests
from distprop.errors import CheckpointError
from distprop.files import Folder
from distprop.manifest import Manifest, Part

Vector = NDArray[np.float32]

MANIFEST = manifests.FILE
WEIGHTS = "weights"
AVERAGE = "average"  # a state vector's name


@dataclass(frozen=True)
class Piece:
    """A server's slice of one version: values start, start + 1, ... of the arena. `blocks` count from `start`."""

    number: int
    start: int
    weights: Vector
    state: Mapping[str, Vector]
    blocks: Sequence[Any]


def write_piece(folder: str, version: int, piece: Piece) -> Part:
    """Write a slice's part of a checkpoint. Raises OSError where the store cannot take it."""
    content = _safetensors({WEIGHTS: piece.weights, **piece.state}, {"start": str(piece.start)})
    name = f"part-{piece.number}.safetensors"
    _version_folder(folder, version).write(name, *content)
    found = hashlib.sha256()
    for one in content:
        found.update(one)
    hashes = digests.block_digests(piece.weights, piece.blocks)
    return Part(
        file=name,
        start=piece.start,
        stop=piece.start + piece.weights.size,
        sha256=found.hexdigest(),
        blocks=tuple(one.hex() for one in hashes),
    )


def _safetensors(values: Mapping[str, Vector], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """The pieces of a safetensors file: its header, and the vectors, of which the library would make two copies more.

    https://huggingface.co/docs/safetensors: 8 bytes of the header's length, JSON padded by spaces to 8 bytes, values.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, vector in values.items():
        header[name] = {"dtype": "F32", "shape": [vector.size], "data_offsets": [end, end + vector.nbytes]}
        end += vector.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *(one.view(np.uint8).data for one in values.values())]


def digest_of(parts: Iterable[Part]) -> str:
    """The digest of the arena whose slices are `parts`."""
    ordered = sorted(parts, key=lambda part: part.start)
    return digests.digest(bytes.fromhex(block) for part in ordered for block in part.blocks)


def seal(folder: str, manifest: Manifest) -> str:
    """Make the checkpoint whole; gives its path. Raises OSError where the store cannot take it."""
    place = _version_folder(folder, manifest.version)
    place.write(MANIFEST, manifests.write(manifest))
    return place.path


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose manifest is whole. checked: whether the manifest has a checksum; older ones have none."""

    path: str
    manifest: Manifest
    checked: bool = True

    @cached_property
    def _parts(self) -> list[tuple[Part, Mapping[str, Vector]]]:
        return [(part, self._read(part)) for part in self.manifest.parts]

    def _read(self, part: Part) -> Mapping[str, Vector]:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = Folder(self.path).read(part.file)
        if content is None or hashlib.sha256(content).hexdigest() != part.sha256:
            raise self._damaged(part, "missing" if content is None else "damaged")
        try:
            loaded: Mapping[str, Vector] = load(content)
        except SafetensorError as error:
            raise self._damaged(part, "damaged") from error
        wanted = np.dtype(np.float32), (part.stop - part.start,)
        if WEIGHTS not in loaded or any((one.dtype, one.shape) != wanted for one in loaded.values()):
            raise self._damaged(part, "of another shape")
        return loaded

    def _damaged(self, part: Part, how: str) -> CheckpointError:
        return CheckpointError(
            f"{part.file} of checkpoint {self.path} is {how}",
            "it is not what its manifest says was written",
            "resume from an earlier checkpoint beside it",
        )

    def require_whole(self) -> None:
        """Raise CheckpointError where a part is missing or damaged; parts are read piece by piece, and not kept."""
        for part in self.manifest.parts:
            found = Folder(self.path).sha256(part.file)
            if found != part.sha256:
                raise self._damaged(part, "missing" if found is None else "damaged")

    def weights(self) -> Vector:
        """All weights, (P,). Raises CheckpointError where a part is missing or damaged."""
        return self._gather(WEIGHTS, slice(0, self.manifest.parameters))

    def kept(self) -> Vector:
        """The weights that are evaluated and become the model, (P,): their average, where the job keeps one."""
        averaged = all(AVERAGE in values for _, values in self._parts)
        return self._gather(AVERAGE if averaged else WEIGHTS, slice(0, self.manifest.parameters))

    def state(self, span: slice) -> dict[str, Vector]:
        """The optimizer's state of the values in `span`, by name."""
        names = sorted({name for _, values in self._parts for name in values} - {WEIGHTS})
        return {name: self._gather(name, span) for name in names}

    def _gather(self, name: str, span: slice) -> Vector:
        parts = self._parts  # before memory is taken: they are as large as they say
        out = np.empty(span.stop - span.start, np.float32)
        for part, values in parts:
            start, stop = max(span.start, part.start), min(span.stop, part.stop)
            if start < stop:
                out[start - span.start : stop - span.start] = values[name][start - part.start : stop - part.start]
        return out


def open_checkpoint(path: str) -> Checkpoint:
    """The checkpoint at `path`. Raises CheckpointError where there is none, or its manifest is not what was written.

    Parts are checked when they are read.
    """
    place = Folder(path)
    text = place.read(MANIFEST)
    if text is None:
        raise CheckpointError(
            f"{path} is no checkpoint",
            f"it has no {MANIFEST}: it is something else, or was never finished",
            "name a run, or a folder of a version under `checkpoint.dir`",
        )
    try:
        manifest, checked = manifests.read(text)
        _require_place(place, manifest)
    except ValueError as error:
        raise CheckpointError(
            f"the manifest of {path} cannot be read", str(error), "resume from an earlier checkpoint beside it"
        ) from error
    return Checkpoint(path, manifest, checked)


def _require_place(place: Folder, manifest: Manifest) -> None:
    """A version's folder has that version. Raises ValueError."""
    name = place.path.rstrip("/").rpartition("/")[2]
    if name.isdigit() and len(name) == len(_name(0)) and int(name) != manifest.version:
        raise ValueError(f"it is that of version {manifest.version}")
    if digest_of(manifest.parts) != manifest.digest:
        raise ValueError("its digest is not that of its parts")


class Found(NamedTuple):
    """What there is in a folder: the newest whole checkpoint, and what was wrong with each newer one."""

    checkpoint: Checkpoint | None
    damaged: tuple[CheckpointError, ...]


def find_newest(folder: str) -> Found:
    """The newest checkpoint in `folder` that is whole, every byte of it. Raises OSError where it cannot be read."""
    damaged: list[CheckpointError] = []
    for path in versions(folder):
        wrong = damage(path)
        if wrong is None:
            return Found(open_checkpoint(path), tuple(damaged))
        damaged.append(wrong)
    return Found(None, tuple(damaged))


def newest(folder: str) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`; None where there is none. Raises CheckpointError where all are damaged.

    They are not taken for none: what begins anew would replace them, and the disk may only be unwell.
    """
    found, damaged = find_newest(folder)
    if found is None and damaged:
        raise CheckpointError(
            f"no checkpoint in {folder} is whole",
            f"{damaged[0].what}: {damaged[0].why}",
            "look at the disk that they are on; to start anew, use another --run-key, or --resume never",
        )
    return found


def damaged_after(saved: Checkpoint) -> tuple[CheckpointError, ...]:
    """What is wrong with each damaged version that is newer than `saved`, in the folder that it is in."""
    newer = (path for path in versions(Folder(saved.path).outer.path) if path > Folder(saved.path).path)
    found = (damage(path) for path in newer)
    return tuple(one for one in found if one is not None)


def damage(path: str) -> CheckpointError | None:
    """What is wrong with the checkpoint at `path`, every byte of which is read; None where it is whole."""
    try:
        open_checkpoint(path).require_whole()
    except CheckpointError as error:
        return error
    return None


def versions(folder: str) -> list[str]:
    """The paths of the finished versions in `folder`, the newest first; what is in them has not been looked at."""
    places = [Folder(folder).inner(name) for name in Folder(folder).folders() if name.isdigit()]
    return sorted((place.path for place in places if place.has(MANIFEST)), reverse=True)


def prune(folder: str, keep: Iterable[int]) -> None:
    """Delete the whole checkpoints of all versions but `keep`. The manifest goes first: no torso looks whole."""
    kept = {_name(version) for version in keep}
    for name in Folder(folder).folders():
        place = Folder(folder).inner(name)
        if name.isdigit() and name not in kept and place.has(MANIFEST):
            place.delete(MANIFEST)
            place.delete_all()


def clear_unfinished(folder: str) -> None:
    """Delete what a process that was killed while it wrote has left: no more than one process may write there."""
    for name in Folder(folder).folders():
        place = Folder(folder).inner(name)
        if name.isdigit() and not place.has(MANIFEST):
            place.delete_all()


def version_path(folder: str, version: int) -> str:
    """Where the checkpoint of `version` is."""
    return _version_folder(folder, version).path


def _version_folder(folder: str, version: int) -> Folder:
    return Folder(folder).inner(_name(version))


def _name(version: int) -> str:
    return f"{version:010d}"


__all__ = [
    "AVERAGE",
    "MANIFEST",
    "Checkpoint",
    "Found",
    "Manifest",
    "Part",
    "Piece",
    "clear_unfinished",
    "damage",
    "damaged_after",
    "digest_of",
    "find_newest",
    "newest",
    "open_checkpoint",
    "prune",
    "seal",
    "version_path",
    "versions",
    "write_piece",
]
