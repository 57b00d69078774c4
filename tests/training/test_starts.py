"""Several starts of one job: the best is kept, whoever computes them, and no start that has ended is trained again."""

from pathlib import Path
from typing import Any

import pytest

from distprop import events
from distprop.errors import CheckpointError, DivergedError, TrainingError
from distprop.model import load_model
from distprop.training import resume
from distprop.training.several import best_of, compared_by, none_is_best, seed_of
from tests.runtime.small import Ran, run, small_job, stop_at


@pytest.fixture
def job(rows: str, here: Path) -> dict[str, Any]:
    return small_job(rows, here / "kept", train__starts=3)


def begun(ran: Ran) -> list[str]:
    """The names of the starts that were trained, in order."""
    return [event.name for event in ran.of(events.RunStarted)]


def test_the_best_start_is_kept_and_the_first_one_is_the_job_without(job: dict[str, Any], rows: str) -> None:
    ran = run(job)
    once = run(small_job(rows, Path(job["checkpoint"]["dir"]))).result
    ended = ran.of(events.StartEnded)
    assert [one.start for one in ended] == [0, 1, 2] and begun(ran) == [f"small-start-{k}" for k in range(3)]
    assert ended[0].digest == once.digest, "the first start is the job that starts once"
    assert len({one.digest for one in ended}) == len({one.seed for one in ended}) == 3
    losses = [one.metrics["valid/loss"] for one in ended]
    best = losses.index(min(losses))
    assert best != 0, "or this could not fail"
    result = ran.result
    assert (result.start, result.compared_by) == (best, "valid/loss")
    assert (result.digest, result.metrics["valid/loss"]) == (ended[best].digest, losses[best])
    assert load_model(result.model_uri).digest == result.digest
    assert [row.digest for row in result.starts] == [one.digest for one in ended]


def test_all_starts_are_measured_on_the_same_rows(job: dict[str, Any]) -> None:
    told = run({**job, "train": {"steps": 1, "starts": 3}}).of(events.Evaluated)
    assert len(told) == 3
    assert len({tuple(map(sum, one.confusion)) for one in told}) == 1, "rows of each class"


@pytest.mark.parametrize(("servers", "homes"), [(1, (0, 0, 0)), (2, (0, 1, 1))])
def test_the_bits_are_the_same_on_any_workers(job: dict[str, Any], servers: int, homes: tuple[int, ...]) -> None:
    one, other = run(job).result, run(job, servers, homes).result
    assert (one.digest, one.metrics, one.start) == (other.digest, other.metrics, other.start)
    assert [row.digest for row in one.starts] == [row.digest for row in other.starts]


def second_at(version: int) -> events.Listener:
    """A listener that has enough when the second start is at `version`."""
    begun, stop = [], stop_at(version)

    def listen(event: events.Event) -> None:
        begun.extend([event] if isinstance(event, events.RunStarted) else [])
        if len(begun) == 2:
            stop(event)

    return listen


def test_a_retry_goes_on_with_the_start_that_was_interrupted(job: dict[str, Any]) -> None:
    whole = run(job).result
    keyed = {"run_key": "nightly", "resume": "auto"}
    first = run(job, listeners=[second_at(5)], **keyed)
    assert first.result.status == "interrupted" and [row.start for row in first.result.starts] == [0]
    second = run(job, 2, (0, 1), **keyed)
    assert begun(second) == ["small-start-1", "small-start-2"]
    assert second.of(events.RunStarted)[0].version == first.result.steps >= 5
    assert second.result.digest == whole.digest
    assert [row.digest for row in second.result.starts] == [row.digest for row in whole.starts]
    third = run(job, **keyed)
    assert third.told == [] and third.result == second.result


@pytest.mark.parametrize("place", ["checkpoint", "start", "all"])
def test_resume_takes_a_checkpoint_or_the_folder_of_one_start_or_of_all(job: dict[str, Any], place: str) -> None:
    whole = run(job).result
    saved = Path(run(job, listeners=[second_at(5)]).result.checkpoint)
    named = {"checkpoint": saved, "start": saved.parent, "all": saved.parent.parent}[place]
    assert saved.parent.name == "start-1"
    result = resume(named, inline=True)
    assert (result.digest, result.start) == (whole.digest, whole.start)


def test_a_listener_that_has_enough_between_two_starts_loses_nothing(job: dict[str, Any]) -> None:
    def stop(event: events.Event) -> None:
        if isinstance(event, events.StartEnded):
            raise events.Stop("enough")

    keyed = {"run_key": "nightly", "resume": "auto"}
    stopped = run(job, listeners=[stop], **keyed).result
    assert stopped.status == "interrupted" and load_model(stopped.model_uri).digest == stopped.digest
    assert begun(run(job, **keyed)) == ["small-start-1", "small-start-2"]


@pytest.mark.parametrize("name", ["result.json", "start-0/result.json", "start-0/ended.json", "start-0/begun.json"])
def test_a_note_that_cannot_be_read_is_found_anew(job: dict[str, Any], name: str) -> None:
    whole = run(job, run_key="nightly").result
    folder = Path(str(whole.checkpoint)).parents[1]
    (folder / "result.json").unlink()
    (folder / name).write_text("{")
    again = run(job, run_key="nightly", resume="auto").result
    assert (again.digest, again.start) == (whole.digest, whole.start)


def test_where_the_note_of_all_starts_cannot_be_read_it_is_named(job: dict[str, Any]) -> None:
    folder = Path(str(run(job, run_key="nightly").result.checkpoint)).parents[1]
    (folder / "starts.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"starts\.json in .* cannot be read"):
        run(job, run_key="nightly", resume="auto")


def test_never_starts_all_of_them_anew(job: dict[str, Any]) -> None:
    run(job, run_key="nightly", resume="never")
    changed = {**job, "optimizer": {"sgd": {"learning_rate": 0.1}}}
    run(changed, listeners=[second_at(5)], run_key="nightly", resume="never")
    assert begun(run(changed, run_key="nightly", resume="must")) == ["small-start-1", "small-start-2"]


def diverging(start: int, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the losses of a start infinite from its third step on: its labels stay, its weights are ruined."""
    from distprop.runtime.desk import Desk

    judge, seed = Desk._require_finite, seed_of(job["seed"], start)

    def require(desk: Desk, gathered: Any) -> None:
        if desk.blueprint.seed == seed and gathered.round.version == 2:
            desk.metrics["train/loss"] = float("nan")
        judge(desk, gathered)

    monkeypatch.setattr(Desk, "_require_finite", require)


def test_a_start_that_diverges_does_not_end_the_others(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(1, job, monkeypatch)
    keyed = {"run_key": "nightly", "resume": "auto"}
    ran = run(job, **keyed)
    assert [one.status for one in ran.result.starts] == ["finished", "failed", "finished"]
    assert "the loss became nan" in ran.result.starts[1].why and ran.result.start != 1
    Path(job["checkpoint"]["dir"], "nightly", "result.json").unlink()  # as if it had been killed right before
    again = run(job, **keyed)
    assert begun(again) == [] and again.result.digest == ran.result.digest


def test_where_all_diverge_the_error_says_so(rows: str, here: Path) -> None:
    job = small_job(rows, here, train__starts=2, optimizer={"sgd": {"learning_rate": 1e30}})
    with pytest.raises(DivergedError, match="all 2 starts diverged") as caught:
        run(job)
    assert "the loss became" in caught.value.why


def test_another_number_of_starts_is_another_recipe(job: dict[str, Any], rows: str, here: Path) -> None:
    once = small_job(rows, here / "kept")
    run(job, run_key="several", resume="auto")
    run(once, run_key="single", resume="auto")
    for other, key in (
        (once, "several"),
        ({**job, "train": {**job["train"], "starts": 2}}, "several"),
        (job, "single"),
    ):
        with pytest.raises(CheckpointError, match=r"another `train\.starts`|another recipe"):
            run(other, run_key=key, resume="auto")


def test_must_needs_something_to_go_on_from(job: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume for the key 'nightly'"):
        run(job, run_key="nightly", resume="must")


def test_a_rehearsal_trains_nothing_and_leaves_nothing(job: dict[str, Any], here: Path) -> None:
    ran = run(job, dry_run=True)
    assert ran.told == [] and ran.result.steps == 0 and not Path(here, "kept").exists()


def test_a_missing_value_is_never_the_best() -> None:
    from distprop.report import Start

    def row(start: int, value: float, status: Any = "finished") -> Start:
        return Start(start, start, status, 1, {"valid/loss": value, "valid/accuracy": value}, None, None)

    rows = [row(0, float("nan")), row(1, 0.4), row(2, 0.3), row(3, 0.3), row(4, 0.1, "failed")]
    assert best_of(rows, "valid/loss") == rows[2] and best_of(rows, "valid/accuracy") == rows[1]
    assert best_of(rows[:1], "valid/loss") is None and best_of(rows[4:], "valid/loss") is None
    why = none_is_best(rows[:1], "valid/loss")
    assert type(why) is TrainingError and "NaN in all of them" in why.what
    assert type(none_is_best(rows[4:], "valid/loss")) is DivergedError


def test_what_compares_starts_is_what_chooses_versions(rows: str, here: Path) -> None:
    from distprop.config import load_job

    def said(**changes: Any) -> str:
        return compared_by(load_job(small_job(rows, here, **changes)))

    stopping = {"metric": "valid/accuracy", "patience": 2}
    assert said() == "valid/loss" and said(data__valid=None) == "train/loss"
    assert said(train__early_stopping=stopping) == "valid/accuracy"
    assert said(train__early_stopping=stopping, checkpoint__keep_best="valid/loss") == "valid/loss"
