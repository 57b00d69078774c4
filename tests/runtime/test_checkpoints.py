"""Checkpoints are whole or not at all; a store that is full costs a checkpoint, never the training."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from distprop import checkpoint, events
from distprop.checkpoint import Piece, newest, open_checkpoint, prune, seal, write_piece
from distprop.errors import CheckpointError, TrainingError
from distprop.files import Folder
from distprop.nn.arena import Block
from tests.runtime.small import run, small_job


def saved(folder: Path, version: int = 7, servers: int = 3, weights: Any = None) -> str:
    """A checkpoint of 100 values by several servers; gives its path."""
    values = np.arange(100, dtype=np.float32) if weights is None else weights
    ends = [100 * part // servers for part in range(servers + 1)]
    parts = tuple(
        write_piece(
            str(folder),
            version,
            Piece(
                me, ends[me], values[ends[me] : ends[me + 1]], {"m": -values[ends[me] : ends[me + 1]]}, [Block(0, 9)]
            ),
        )
        for me in range(servers)
    )
    manifest = checkpoint.Manifest(version, 9, "recipe", {"data": "d"}, 100, checkpoint.digest_of(parts), parts, "")
    return seal(str(folder), manifest)


@pytest.mark.parametrize("servers", [1, 2, 5])
def test_whoever_wrote_it_any_span_can_be_read(tmp_path: Path, servers: int) -> None:
    found = open_checkpoint(saved(tmp_path, servers=servers))
    np.testing.assert_array_equal(found.weights(), np.arange(100, dtype=np.float32))
    np.testing.assert_array_equal(found.state(slice(13, 77))["m"], -np.arange(13, 77, dtype=np.float32))


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_a_part_is_what_safetensors_reads(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder, chance = tmp_path_factory.mktemp("part"), np.random.default_rng(len(sizes))
    first, *rest = (chance.normal(size=size).astype(np.float32) for size in sizes)
    state = {f"state of {number}": values for number, values in enumerate(rest)}
    part = write_piece(str(folder), 3, Piece(2, 40, first, state, []))
    content = (folder / "0000000003" / part.file).read_bytes()
    assert part.sha256 == hashlib.sha256(content).hexdigest()
    loaded = load(content)
    assert loaded.keys() == {"weights", *state}
    for name, values in {"weights": first, **state}.items():
        np.testing.assert_array_equal(loaded[name], values, strict=True)


def test_writing_a_part_copies_no_vector(tmp_path: Path) -> None:
    values = np.ones(2**18, np.float32)
    tracemalloc.start()
    try:
        write_piece(str(tmp_path), 3, Piece(0, 0, values, {"m": values}, []))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < values.nbytes / 2


def test_a_manifest_survives_being_written(tmp_path: Path) -> None:
    found = newest(str(tmp_path)) or open_checkpoint(saved(tmp_path))
    assert (found.manifest.version, found.manifest.fingerprint, len(found.manifest.parts)) == (7, {"data": "d"}, 3)


def test_a_torso_is_no_checkpoint(tmp_path: Path) -> None:
    """Without its manifest, which comes last, a version is not there; the one before is."""
    saved(tmp_path, 5)
    torso = saved(tmp_path, 6)
    Folder(torso).delete(checkpoint.MANIFEST)
    found = newest(str(tmp_path))
    assert found is not None and found.manifest.version == 5
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        open_checkpoint(torso)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damage_is_noticed_and_named(tmp_path: Path, damage: str) -> None:
    path = saved(tmp_path)
    part = Path(path, "part-1.safetensors")
    content = bytearray(part.read_bytes())
    content[-3] ^= 1
    part.write_bytes(content if damage == "flipped" else content[:-4])
    if damage == "gone":
        part.unlink()
    with pytest.raises(CheckpointError, match=r"part-1\.safetensors .* is (missing|damaged)"):
        open_checkpoint(path).weights()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "[" * 9999, '{"format": 1}', '{"format": 99}', '{"format": 2, "parts": [{}]}']
)
def test_a_manifest_that_cannot_be_read_is_a_clear_error(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path)
    Path(path, checkpoint.MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoint(path)


def edited(path: str, **changes: Any) -> None:
    """The manifest of a checkpoint, in the old format that has no checksum, with these changes; None takes away."""
    file = Path(path, checkpoint.MANIFEST)
    found = {**json.loads(file.read_text()), "format": 2, **changes}
    del found["sha256"]
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    """As a factor of the learning rate would give other bits in silence."""
    path = saved(tmp_path)
    file = Path(path, checkpoint.MANIFEST)
    file.write_text(file.read_text().replace('"factor": 1.0', '"factor": 0.5'))
    with pytest.raises(CheckpointError, match="damaged or edited"):
        open_checkpoint(path)


def test_a_manifest_cannot_pass_for_one_of_the_format_that_had_no_checksum(tmp_path: Path) -> None:
    path = saved(tmp_path)
    file = Path(path, checkpoint.MANIFEST)
    file.write_text(file.read_text().replace('"format": 3', '"format": 2'))
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": [{"file": "../0000000006/part-0.safetensors", "start": 0, "stop": 100, "sha256": "", "blocks": []}]},
        {"parts": []},
        {"parameters": 10**15},
        {"parameters": -1},
        {"factor": "1.0"},
        {"factor": math.nan},
        {"factor": None, "fctor": 1.0},
        {"version": True},
        {"version": 6},
        {"verdicts": [{"version": 3}]},
        {"receipt": "no figure"},
        {"digest": "0" * 64},
        {"metrics": {"train/loss": None}},
    ],
)
def test_a_manifest_with_values_that_nobody_wrote_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = saved(tmp_path)
    edited(path, **changes)
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoint(path)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
def test_any_manifest_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = saved(tmp_path_factory.mktemp("fuzz"))
    known = sorted(json.loads(Path(path, checkpoint.MANIFEST).read_text()).keys() - {"sha256"})
    edited(path, **data.draw(st.dictionaries(st.sampled_from(known) | st.text(max_size=5), PLAIN, max_size=3)))
    with contextlib.suppress(CheckpointError):
        assert open_checkpoint(path).manifest.parameters == 100


@given(data=st.data())
def test_damage_anywhere_in_the_newest_leaves_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    saved(folder, 5)
    path = Path(saved(folder, 6))
    before = checkpoint.open_checkpoint(str(path)).manifest
    file = data.draw(st.sampled_from(sorted(path.iterdir())))
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans(), "cut"):
        del content[at:]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    found, damaged = checkpoint.find_newest(str(folder))
    assert found is not None
    if found.manifest.version == 6:  # white space between the manifest's values
        assert found.manifest == before and not damaged
    else:
        assert (found.manifest.version, len(damaged)) == (5, 1)


@pytest.mark.parametrize("name", ["manifest.json", "part-1.safetensors"])
def test_files_that_changed_places_between_versions_are_not_believed(tmp_path: Path, name: str) -> None:
    saved(tmp_path, 5)
    path = Path(saved(tmp_path, 6, weights=2 * np.arange(100, dtype=np.float32)))
    shutil.copy(path.with_name("0000000005") / name, path / name)
    found, damaged = checkpoint.find_newest(str(tmp_path))
    assert found is not None and (found.manifest.version, len(damaged)) == (5, 1)


def test_damaged_checkpoints_alone_are_not_taken_for_none(tmp_path: Path) -> None:
    Path(saved(tmp_path), "part-0.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is whole"):
        newest(str(tmp_path))


WRITES_UNTIL_KILLED = """
import sys, numpy as np
from pathlib import Path
from tests.runtime.test_checkpoints import saved
for version in range(1, 10**6):
    saved(Path(sys.argv[1]), version, weights=np.full(100, version, np.float32))
    print(version, flush=True)
"""


@pytest.mark.parametrize("after", [3, 8])
def test_whoever_is_killed_while_writing_leaves_whole_checkpoints(tmp_path: Path, after: int) -> None:
    command = [sys.executable, "-c", WRITES_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        try:
            said = [int(writer.stdout.readline()) for _ in range(after)]
        finally:
            writer.kill()
    found, damaged = checkpoint.find_newest(str(tmp_path))
    assert found is not None and found.manifest.version >= said[-1] and damaged == ()
    np.testing.assert_array_equal(found.weights(), np.full(100, found.manifest.version, np.float32))


def test_a_write_that_fails_leaves_nothing_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Folder(str(tmp_path)).write("a", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_file_counts_once_it_and_its_folder_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def noted(descriptor: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append(str(place.relative_to(tmp_path)))
        assert (tmp_path / "a" / "b" / "file").exists() == (synced.count("a/b") > 0)

    monkeypatch.setattr(os, "fsync", noted)
    Folder(str(tmp_path / "a" / "b")).write("file", b"content")
    assert synced == ["a", ".", "a/b/.file.part", "a/b"]


def test_pruning_leaves_what_is_kept_and_what_is_being_written(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        saved(tmp_path, version)
    Folder(saved(tmp_path, 4)).delete(checkpoint.MANIFEST)
    prune(str(tmp_path), [2])
    assert sorted(int(name) for name in Folder(str(tmp_path)).folders()) == [2, 4]


class FullDisk:
    """Writes of these versions find no room, after some bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, what: str, versions: set[int]) -> None:
        write = Folder.write

        def full(self: Folder, name: str, *content: bytes | memoryview) -> None:
            if name.startswith(what) and int(Path(self.path).name) in versions:
                write(self, f"{name}.torn", content[0][:10])
                raise OSError(28, "No space left on device")
            write(self, name, *content)

        monkeypatch.setattr(Folder, "write", full)


@pytest.mark.parametrize("what", ["part", "manifest"])
def test_a_full_disk_costs_a_checkpoint_and_not_the_training(
    what: str, rows: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(small_job(rows, room)).numbers
    FullDisk(monkeypatch, what, {6})
    ran = run(small_job(rows, room, checkpoint__keep_last=9), 2, (0, 1))
    failed = ran.of(events.CheckpointFailed)
    assert [(one.version, "No space" in one.why) for one in failed] == [(6, True)]
    assert ran.numbers == expected
    assert {one.version for one in ran.of(events.Checkpointed)} == {3, 9, 10}


def test_a_disk_that_is_full_at_the_end_is_a_clear_error(
    rows: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, "part", {10})
    with pytest.raises(TrainingError, match="were not kept"):
        run(small_job(rows, room))


def test_what_is_kept_is_the_newest_and_the_best(rows: str, room: Path) -> None:
    ran = run(small_job(rows, room, checkpoint__keep_last=1, checkpoint__keep_best="valid/loss"))
    best = [one.version for one in ran.of(events.Evaluated) if one.best][-1]
    assert ran.result.checkpoint is not None
    folder = Path(ran.result.checkpoint).parent
    assert {int(one.name) for one in folder.iterdir() if one.name.isdigit()} == {best, 10}
    assert json.loads(Path(folder, f"{best:010d}", "manifest.json").read_text())["best"] is True
