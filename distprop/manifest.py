"""The manifest of a checkpoint: all of it that is not numbers of the arena, as JSON with a checksum of its own.

A manifest is either whole, with every value that was written, or refused: `read` believes nothing else.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FORMAT = 3
WITHOUT_CHECKSUM = 2  # the format before: its parts have checksums, the manifest itself has none
FILE = "manifest.json"
CHECKSUM = "sha256"

_PART_FILE = re.compile(r"part-\d+\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    model: Mapping[str, Any] = field(default_factory=dict)  # what a Model has beside its weights


def write(manifest: Manifest) -> bytes:
    """The file's content."""
    content = json.loads(json.dumps({"format": FORMAT, **asdict(manifest)}))
    return json.dumps({**content, CHECKSUM: _checksum(content)}, indent=1).encode()


def read(text: bytes) -> tuple[Manifest, bool]:
    """The manifest, and whether it has a checksum. Raises ValueError where it is not what was written."""
    try:
        found = json.loads(text)
        checked = _require_checksum(found)
        parts = tuple(_part(one) for one in _of(list, found.pop("parts"), "parts"))
        values = {name: _checked(name, value) for name, value in found.items()}
        manifest = Manifest(parts=parts, **values)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    _require_all_values(manifest)
    return manifest, checked


def _checksum(content: Mapping[str, Any]) -> str:
    """Of the values, however they are written."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _require_checksum(found: dict[str, Any]) -> bool:
    """Take format and checksum out of `found`; whether there is a checksum."""
    promised = found.pop(CHECKSUM, None)
    if promised is not None and promised != _checksum(found):
        raise ValueError("its checksum is not that of its content: it was damaged or edited")
    written = found.pop("format")
    if (written, promised is not None) not in ((FORMAT, True), (WITHOUT_CHECKSUM, False)):
        why = "without its checksum" if written == FORMAT else f"not {FORMAT}: another version of distprop wrote it"
        raise ValueError(f"it is of format {written}, {why}")
    return promised is not None


def _of(kind: type[Any], value: Any, name: str) -> Any:
    """The value, if it is of this kind; true and false are no numbers."""
    fits = type(value) in (int, float) if kind is float else type(value) is kind
    if not fits:
        raise ValueError(f"`{name}` is {value!r:.80}")
    return value


def _checked(name: str, value: Any) -> Any:
    """A value of the manifest, as Manifest has it."""
    checked: Any = _CHECKS[name](value, name)
    return checked


def _optional_text(value: Any, name: str) -> str | None:
    text: str | None = None if value is None else _of(str, value, name)
    return text


def _count(value: Any, name: str) -> int:
    if _of(int, value, name) < 0:
        raise ValueError(f"`{name}` is {value}")
    return int(value)


def _hexadecimal(value: Any, name: str) -> str:
    int(_of(str, value, name), 16)
    return str(value)


def _factor(value: Any, name: str) -> float:
    if not math.isfinite(_of(float, value, name)):
        raise ValueError(f"`{name}` is {value}")
    return float(value)


def _numbers(value: Any, name: str) -> Mapping[str, float]:
    return {key: float(_of(float, one, name)) for key, one in _of(dict, value, name).items()}


def _texts(value: Any, name: str) -> Mapping[str, str]:
    return {key: _of(str, one, name) for key, one in _of(dict, value, name).items()}


def _verdicts(value: Any, name: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(_verdict(one, name) for one in _of(list, value, name))


def _verdict(value: Any, name: str) -> Mapping[str, Any]:
    """One evaluation and what followed from it, with the fields of an Opinion."""
    if value.keys() != {"version", "metrics", "best", "stop", "factor"}:
        raise ValueError(f"`{name}` has one with {', '.join(map(str, value))}")
    return {
        "version": _count(value["version"], name),
        "metrics": _numbers(value["metrics"], name),
        "best": _of(bool, value["best"], name),
        "stop": _of(bool, value["stop"], name),
        "factor": _factor(value["factor"], name),
    }


def _plain(kind: type[Any]) -> Callable[[Any, str], Any]:
    return lambda value, name: _of(kind, value, name)


_CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "version": _count,
    "last": _count,
    "recipe": _plain(str),
    "fingerprint": _texts,
    "parameters": _count,
    "digest": _plain(str),
    "config": _plain(str),
    "factor": _factor,
    "verdicts": _verdicts,
    "receipt": _hexadecimal,
    "best": _plain(bool),
    "run_id": _optional_text,
    "run_key": _optional_text,
    "finished": _plain(bool),
    "metrics": _numbers,
    "model": _plain(dict),
}


def _part(value: Mapping[str, Any]) -> Part:
    """A part whose file lies beside the manifest, whatever the manifest says."""
    if value.keys() != {one.name for one in fields(Part)}:
        raise ValueError(f"a part has {', '.join(map(str, value))}")
    if not _PART_FILE.fullmatch(_of(str, value["file"], "file")):
        raise ValueError(f"a part's file is {value['file']!r:.80}, which is no file of a checkpoint")
    hashes = [value["sha256"], *_of(list, value["blocks"], "blocks")]
    if not all(_SHA256.fullmatch(_of(str, one, "sha256")) for one in hashes):
        raise ValueError("a part's checksum is none")
    start, stop = _count(value["start"], "start"), _count(value["stop"], "stop")
    return Part(value["file"], start, stop, value["sha256"], tuple(hashes[1:]))


def _require_all_values(manifest: Manifest) -> None:
    """The parts have each value of the arena once."""
    end = 0
    for part in sorted(manifest.parts, key=lambda part: (part.start, part.stop)):
        if part.start != end or part.stop < part.start:
            raise ValueError(f"its parts do not have each value once: {part.file} begins at {part.start}, not {end}")
        end = part.stop
    if end != manifest.parameters:
        raise ValueError(f"its parts have {end} values of {manifest.parameters}")
