"""What a retried job calls: it goes on where the last try stopped, and does nothing where that had finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from distprop import events
from distprop.checkpoint import versions
from distprop.errors import CheckpointError, UserError
from distprop.training import job_of, resume
from tests.runtime.small import run, small_job, stop_at


@pytest.fixture
def job(rows: str, here: Path) -> dict[str, Any]:
    return small_job(rows, here / "kept")


def keyed(job: dict[str, Any], mode: Any = "auto", **more: Any) -> Any:
    return run(job, run_key="nightly", resume=mode, **more)


def test_auto_starts_goes_on_and_hands_back_what_is_finished(job: dict[str, Any]) -> None:
    whole = run(job).result
    first = keyed(job, listeners=[stop_at(3)])
    assert first.result.status == "interrupted" and 3 <= first.result.steps < 10
    second = keyed(job, servers=2, homes=(0, 1, 1))
    assert second.of(events.RunStarted)[0].version == first.result.steps
    assert second.result.digest == whole.digest
    third = keyed(job)
    assert third.told == [] and third.result == second.result


def test_a_damaged_checkpoint_is_passed_over_and_told_of(job: dict[str, Any], here: Path) -> None:
    whole = run(job).result
    first = keyed(job, listeners=[stop_at(6)])
    newest, before = versions(str(here / "kept" / "nightly"))[:2]
    part = Path(newest, "part-0.safetensors")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    second = keyed(job)
    assert second.of(events.RunStarted)[0].version == int(Path(before).name) < first.result.steps
    told = second.of(events.Warned)
    assert [one.kind for one in told] == ["checkpoint"] and newest in told[0].what
    assert second.result.warnings == (told[0].what,) and second.result.plain()["warnings"] == [told[0].what]
    assert second.result.digest == whole.digest


def test_what_was_kept_before_a_resume_is_kept_after_it(job: dict[str, Any], here: Path) -> None:
    """So that damage to the first checkpoint afterwards costs no more than any other would."""
    job = {**job, "checkpoint": {**job["checkpoint"], "keep_last": 2}}
    first = keyed(job, listeners=[stop_at(4)]).result
    second = keyed(job, listeners=[stop_at(first.steps + 1)]).result
    kept = [int(Path(path).name) for path in versions(str(here / "kept" / "nightly"))]
    assert len(kept) == 2 and kept == sorted({first.steps, second.steps, *kept}, reverse=True)[:2]


def test_what_a_killed_process_left_half_written_goes(job: dict[str, Any], here: Path) -> None:
    keyed(job, listeners=[stop_at(3)])
    torso = here / "kept" / "nightly" / "0000000099"
    torso.mkdir()
    (torso / ".part-0.safetensors.part").write_bytes(bytes(1000))
    keyed(job)
    assert not torso.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_a_result_that_cannot_be_read_is_made_again(text: str, job: dict[str, Any], here: Path) -> None:
    first = keyed(job).result
    (here / "kept" / "nightly" / "result.json").write_text(text)
    again = keyed(job).result
    assert (again.status, again.digest, again.steps) == ("finished", first.digest, first.steps)


def test_an_address_of_a_filesystem_is_a_folder_as_a_path_is(job: dict[str, Any], here: Path) -> None:
    whole = run(job).result
    job = {**job, "checkpoint": {**job["checkpoint"], "dir": f"file://{here}/elsewhere"}}
    first = keyed(job, listeners=[stop_at(6)]).result
    Path(first.checkpoint.removeprefix("file://"), "part-0.safetensors").unlink()
    second = keyed(job)
    assert [one.kind for one in second.of(events.Warned)] == ["checkpoint"]
    assert second.result.digest == whole.digest


def test_a_resumed_run_tells_of_damage_too(job: dict[str, Any], here: Path) -> None:
    keyed(job, listeners=[stop_at(6)])
    folder = here / "kept" / "nightly"
    Path(versions(str(folder))[0], "manifest.json").write_text("{")
    told: list[events.Event] = []
    assert resume(folder, inline=True, listeners=[told.append]).status == "finished"
    assert any(isinstance(one, events.Warned) and one.kind == "checkpoint" for one in told)


def test_a_checkpoint_of_before_manifests_had_checksums_is_taken_and_told_of(job: dict[str, Any], here: Path) -> None:
    whole = run(job).result
    keyed(job, listeners=[stop_at(3)])
    for path in versions(str(here / "kept" / "nightly")):
        found = json.loads(Path(path, "manifest.json").read_text())
        old = {key: value for key, value in found.items() if key not in ("sha256", "model")}
        Path(path, "manifest.json").write_text(json.dumps({**old, "format": 2}))
    second = keyed(job)
    assert second.result.digest == whole.digest
    assert ["no checksum" in one.what for one in second.of(events.Warned)] == [True]


def test_must_needs_something_to_go_on_from(job: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume for the key 'nightly'"):
        keyed(job, "must")
    keyed(job, listeners=[stop_at(3)])
    assert keyed(job, "must").result.steps == 10


def test_never_starts_anew(job: dict[str, Any]) -> None:
    first = keyed(job, "never")
    again = keyed(job, "never")
    assert again.of(events.RunStarted)[0].version == 0
    assert again.result.digest == first.result.digest


def test_a_key_with_another_recipe_is_refused(job: dict[str, Any]) -> None:
    keyed(job, listeners=[stop_at(3)])
    with pytest.raises(CheckpointError, match="another recipe"):
        keyed({**job, "seed": 99})


def test_a_checkpoint_of_other_data_is_refused(job: dict[str, Any], here: Path) -> None:
    from tests.runtime.small import table, written

    keyed(job, listeners=[stop_at(3)])
    other = written(here, table(seed=5), "other")
    with pytest.raises(CheckpointError, match="other data"):
        keyed({**job, "data": {**job["data"], "train": other}})


def test_where_all_checkpoints_are_damaged_one_is_named(job: dict[str, Any]) -> None:
    saved = keyed(job, listeners=[stop_at(3)]).result.checkpoint
    for path in versions(str(Path(saved).parent)):
        part = Path(path, "part-0.safetensors")
        part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        keyed(job)


def test_resume_finds_a_checkpoint_by_its_path_or_its_folder(job: dict[str, Any]) -> None:
    whole = run(job).result
    for place in (lambda path: path, lambda path: path.parent):
        saved = run(job, listeners=[stop_at(4)]).result.checkpoint
        assert job_of(str(place(Path(saved)))).name == "small"
        assert resume(place(Path(saved)), inline=True).digest == whole.digest


@pytest.mark.parametrize("what", ["nowhere/to/be/found", "empty"])
def test_resume_from_what_is_no_checkpoint_is_the_users_error(what: str, here: Path) -> None:
    Path(here, "empty", "0000000005").mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        resume(what, inline=True)
    assert caught.value.why and caught.value.fix


def test_a_rehearsal_trains_nothing_and_leaves_nothing(job: dict[str, Any], here: Path) -> None:
    ran = run(job, dry_run=True)
    assert ran.told == [] and (ran.result.steps, ran.result.digest) == (0, None)
    assert not Path(here, "kept").exists()
