"""Where a training starts: at the beginning, or at a checkpoint of the same recipe and data."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from distprop.checkpoint import Checkpoint, damaged_after
from distprop.errors import CheckpointError
from distprop.numerics.fingerprint import Fingerprint
from distprop.runtime.desk import Cursor
from distprop.runtime.judge import Opinion


@dataclass(frozen=True)
class StartingPoint:
    """What a session goes on from; the defaults are the beginning."""

    version: int = 0
    path: str | None = None
    history: tuple[Opinion, ...] = ()
    cursor: Cursor = field(default_factory=Cursor)
    factor: float = 1.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    run_id: str | None = None
    finished: bool = False
    warnings: tuple[tuple[str, str], ...] = ()  # what a person should know of it, and what to do


def starting_point(
    saved: Checkpoint, fingerprint: Fingerprint, rows_so_far: int, strict: bool = False
) -> StartingPoint:
    """Go on from `saved`. Raises CheckpointError where it is of another recipe or of other data.

    rows_so_far: the rows of its epoch that were used before its version. strict: refuse where the bits may differ.
    """
    manifest = saved.manifest
    if manifest.recipe != fingerprint.recipe:
        raise CheckpointError(
            f"the checkpoint {saved.path} is of another recipe",
            "its model, data section, optimizer, seed or numerics are not those of this job",
            "resume with the config it was made with, or start anew: another --run-key, or --resume never",
        )
    if manifest.fingerprint.get("data") != fingerprint.data:
        raise CheckpointError(
            f"the checkpoint {saved.path} was made with other data",
            f"its data had the digest {manifest.fingerprint.get('data')}, this data has {fingerprint.data}",
            "put the same files in place, or start anew",
        )
    _compare(saved, fingerprint, strict)
    return StartingPoint(
        version=manifest.version,
        path=saved.path,
        history=tuple(Opinion(**verdict) for verdict in manifest.verdicts),
        cursor=Cursor(int(manifest.receipt, 16), rows_so_far),
        factor=manifest.factor,
        metrics=manifest.metrics,
        run_id=manifest.run_id,
        finished=manifest.finished,
        warnings=_warnings(saved),
    )


def _warnings(saved: Checkpoint) -> tuple[tuple[str, str], ...]:
    """What is wrong with newer checkpoints, and what cannot be known of this one."""
    found = [
        (f"{error.what} ({error.why}); going on from {saved.path}", "look at the disk that it was written to")
        for error in damaged_after(saved)
    ]
    if not saved.checked:
        what = f"the manifest of {saved.path} has no checksum, since an earlier distprop wrote it: it is taken as it is"
        found.append((what, "the next checkpoint has one; start anew where the numbers must be beyond doubt"))
    return tuple(found)


def _compare(saved: Checkpoint, fingerprint: Fingerprint, strict: bool) -> None:
    differ = fingerprint.differences(saved.manifest.fingerprint)
    if not differ:
        return
    if strict:
        raise CheckpointError(
            f"the checkpoint {saved.path} was made where the bits may differ",
            "; ".join(differ),
            "resume in the environment it was made in, or without --strict",
        )
    logging.getLogger("distprop").warning("the bits may differ from here on: %s", "; ".join(differ))
