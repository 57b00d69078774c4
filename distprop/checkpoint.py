"""Checkpoints: arena, optimizer state, cursor and verdicts <-> safetensors and a manifest, on any filesystem.

    FOLDER/0000001000/part-0.safetensors    one server's slice: weights and state vectors
                      part-1.safetensors
                      manifest.json         written last: a version without it is no checkpoint

A checkpoint is read by any number of servers: every part says which values of the arena it has.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distprop import digest as digests
from distprop.errors import CheckpointError
from distprop.files import Folder

Vector = NDArray[np.float32]

FORMAT = 2
MANIFEST = "manifest.json"
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


@dataclass(frozen=True)
class Part:
    """A written piece, as the manifest lists it."""

    file: str
    start: int
    stop: int
    sha256: str  # of the file
    blocks: tuple[str, ...]  # SHA-256 of each block's weights


@dataclass(frozen=True)
class Manifest:
    """All of a checkpoint that is not numbers of the arena."""

    version: int
    last: int
    recipe: str  # the recipe's hash
    fingerprint: Mapping[str, str]
    parameters: int
    digest: str
    parts: tuple[Part, ...]
    config: str  # the job, resolved, as YAML
    factor: float = 1.0  # of the learning rate
    verdicts: tuple[Mapping[str, Any], ...] = ()
    receipt: str = "0"  # of the epoch so far, hexadecimal
    best: bool = False
    run_id: str | None = None
    run_key: str | None = None
    finished: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)  # the last of each


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
    place.write(MANIFEST, json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode())
    return place.path


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint."""

    path: str
    manifest: Manifest

    @cached_property
    def _parts(self) -> list[tuple[Part, Mapping[str, Vector]]]:
        return [(part, self._read(part)) for part in self.manifest.parts]

    def _read(self, part: Part) -> Mapping[str, Vector]:
        from safetensors.numpy import load

        content = Folder(self.path).read(part.file)
        if content is None or hashlib.sha256(content).hexdigest() != part.sha256:
            raise CheckpointError(
                f"{part.file} of checkpoint {self.path} is {'missing' if content is None else 'damaged'}",
                "it is not what its manifest says was written",
                "resume from an earlier checkpoint beside it",
            )
        loaded: Mapping[str, Vector] = load(content)
        return loaded

    def weights(self) -> Vector:
        """All weights, (P,). Raises CheckpointError where a part is missing or damaged."""
        return self._gather(WEIGHTS, slice(0, self.manifest.parameters))

    def kept(self) -> Vector:
        """The weights that are evaluated and become the model, (P,): their average, where the job keeps one."""
        averaged = any(AVERAGE in values for _, values in self._parts)
        return self._gather(AVERAGE if averaged else WEIGHTS, slice(0, self.manifest.parameters))

    def state(self, span: slice) -> dict[str, Vector]:
        """The optimizer's state of the values in `span`, by name."""
        names = sorted({name for _, values in self._parts for name in values} - {WEIGHTS})
        return {name: self._gather(name, span) for name in names}

    def _gather(self, name: str, span: slice) -> Vector:
        out = np.empty(span.stop - span.start, np.float32)
        for part, values in self._parts:
            start, stop = max(span.start, part.start), min(span.stop, part.stop)
            if start < stop:
                out[start - span.start : stop - span.start] = values[name][start - part.start : stop - part.start]
        return out


def open_checkpoint(path: str) -> Checkpoint:
    """The checkpoint at `path`. Raises CheckpointError where there is no whole one."""
    text = Folder(path).read(MANIFEST)
    if text is None:
        raise CheckpointError(
            f"{path} is no checkpoint",
            f"it has no {MANIFEST}: it is something else, or was never finished",
            "name a run, or a folder of a version under `checkpoint.dir`",
        )
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ValueError(f"it is of another format than {FORMAT}: another version of distprop wrote it")
        parts = tuple(Part(**{**part, "blocks": tuple(part["blocks"])}) for part in found.pop("parts"))
        return Checkpoint(path, Manifest(parts=parts, **{**found, "verdicts": tuple(found["verdicts"])}))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the manifest of {path} cannot be read", str(error), "resume from an earlier checkpoint beside it"
        ) from error


def newest(folder: str) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`; None where there is none."""
    for name in sorted(Folder(folder).folders(), reverse=True):
        place = Folder(folder).inner(name)
        if name.isdigit() and place.has(MANIFEST):
            return open_checkpoint(place.path)
    return None


def prune(folder: str, keep: Iterable[int]) -> None:
    """Delete the whole checkpoints of all versions but `keep`. The manifest goes first: no torso looks whole."""
    kept = {_name(version) for version in keep}
    for name in Folder(folder).folders():
        place = Folder(folder).inner(name)
        if name.isdigit() and name not in kept and place.has(MANIFEST):
            place.delete(MANIFEST)
            place.delete_all()


def version_path(folder: str, version: int) -> str:
    """Where the checkpoint of `version` is."""
    return _version_folder(folder, version).path


def _version_folder(folder: str, version: int) -> Folder:
    return Folder(folder).inner(_name(version))


def _name(version: int) -> str:
    return f"{version:010d}"
